-- How many finished requests are past their time. ?1: a JSON array of [state, ended at or before]. By requests_finished, see
-- prune.sql.
SELECT count(*) FROM json_each(?1) AS j CROSS JOIN requests INDEXED BY requests_finished
WHERE finished_at IS NOT NULL AND finished_at <= j.value ->> 1 AND state = j.value ->> 0
  AND NOT EXISTS (
    SELECT 1 FROM requests AS w INDEXED BY requests_after
    WHERE w.after_id = requests.id AND w.state = 'pending' AND w.held_by = 'after')
  AND NOT EXISTS (SELECT 1 FROM endings AS e WHERE e.request_id = requests.id)
