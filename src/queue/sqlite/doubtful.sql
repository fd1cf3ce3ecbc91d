-- Uncertain requests of a trigger that count for its limit. ?1: the trigger, ?2: that ended after this instant, ?3: how many to
-- count up to. Answers: how many, and when the first of them ended. By requests_doubtful.
SELECT
  (SELECT count(*) FROM (
    SELECT 1 FROM requests INDEXED BY requests_doubtful WHERE trigger_name = ?1 AND state = 'uncertain' AND typeof(finished_at) = 'integer' AND finished_at > ?2 LIMIT ?3
  )),
  (SELECT CAST(finished_at AS INTEGER) FROM requests INDEXED BY requests_doubtful
    WHERE trigger_name = ?1 AND state = 'uncertain' AND typeof(finished_at) = 'integer' AND finished_at > ?2 ORDER BY finished_at LIMIT 1)
