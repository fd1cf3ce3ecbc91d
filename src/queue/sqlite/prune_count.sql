-- How many finished requests are past their time. ?1: a JSON array of [state, ended at or before]. By requests_finished, see
-- prune.sql.
SELECT count(*) FROM json_each(?1) AS j CROSS JOIN requests INDEXED BY requests_finished
WHERE finished_at IS NOT NULL AND finished_at <= j.value ->> 1 AND state = j.value ->> 0
