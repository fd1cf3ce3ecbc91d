-- How a concurrency key of a trigger stands. ?1: the trigger, ?2: the key, ?3: how many to count up to, ?4: uncertain ones that
-- ended after this instant count, ?5: now. Answers: requests with the far end; uncertain ones that count, and when the first of
-- them ended; the oldest that is unfinished; until when the job of an uncertain one may be running. By requests_key_active,
-- requests_key_doubtful and requests_key_open.
SELECT
  (SELECT count(*) FROM (
    SELECT 1 FROM requests INDEXED BY requests_key_active
    WHERE trigger_name = ?1 AND concurrency_key = ?2
      AND concurrency_key IS NOT NULL AND (state = 'triggering' OR state = 'polling' OR state = 'collecting')
    LIMIT ?3
  )),
  (SELECT count(*) FROM (
    SELECT 1 FROM requests INDEXED BY requests_key_doubtful
    WHERE trigger_name = ?1 AND concurrency_key = ?2 AND concurrency_key IS NOT NULL AND state = 'uncertain' AND finished_at > ?4
    LIMIT ?3
  )),
  (SELECT finished_at FROM requests INDEXED BY requests_key_doubtful
    WHERE trigger_name = ?1 AND concurrency_key = ?2 AND concurrency_key IS NOT NULL AND state = 'uncertain' AND finished_at > ?4
    ORDER BY finished_at LIMIT 1),
  (SELECT min(id) FROM requests INDEXED BY requests_key_open
    WHERE trigger_name = ?1 AND concurrency_key = ?2
      AND concurrency_key IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting')),
  (SELECT max(deadline_at) FROM requests INDEXED BY requests_key_doubtful
    WHERE trigger_name = ?1 AND concurrency_key = ?2 AND concurrency_key IS NOT NULL AND state = 'uncertain' AND deadline_at > ?5)
