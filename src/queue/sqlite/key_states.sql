-- How concurrency keys of a trigger stand. ?1: the trigger, ?2: a JSON array of the keys, ?3: how many to count up to, ?4: uncertain
-- ones that ended after this instant count, ?5: now. Answers, for each key: the key; its requests with the far end; uncertain ones
-- that count, and when the first of them ended; the oldest that is unfinished; until when the job of an uncertain one may be
-- running. By requests_key_active, requests_key_doubtful and requests_key_open.
SELECT
  j.value,
  (SELECT count(*) FROM (
    SELECT 1 FROM requests INDEXED BY requests_key_active
    WHERE trigger_name = ?1 AND concurrency_key = j.value
      AND concurrency_key IS NOT NULL AND (state = 'triggering' OR state = 'polling' OR state = 'collecting')
    LIMIT ?3
  )),
  (SELECT count(*) FROM (
    SELECT 1 FROM requests INDEXED BY requests_key_doubtful
    WHERE trigger_name = ?1 AND concurrency_key = j.value AND concurrency_key IS NOT NULL AND state = 'uncertain' AND typeof(finished_at) = 'integer' AND finished_at > ?4
    LIMIT ?3
  )),
  (SELECT CAST(finished_at AS INTEGER) FROM requests INDEXED BY requests_key_doubtful
    WHERE trigger_name = ?1 AND concurrency_key = j.value AND concurrency_key IS NOT NULL AND state = 'uncertain' AND typeof(finished_at) = 'integer' AND finished_at > ?4
    ORDER BY finished_at LIMIT 1),
  (SELECT min(id) FROM requests INDEXED BY requests_key_open
    WHERE trigger_name = ?1 AND concurrency_key = j.value
      AND concurrency_key IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting')),
  (SELECT CAST(max(deadline_at) AS INTEGER) FROM requests INDEXED BY requests_key_doubtful
    WHERE trigger_name = ?1 AND concurrency_key = j.value AND concurrency_key IS NOT NULL AND state = 'uncertain' AND typeof(deadline_at) = 'integer' AND deadline_at > ?5)
FROM json_each(?2) AS j
