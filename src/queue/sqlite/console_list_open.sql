-- As console_list.sql, for the state ?1 that is pending, triggering, polling, collecting or uncertain: rare beside what has
-- ended. One arm for each partial index (requests_wake or requests_candidates, requests_triggering, requests_due,
-- requests_uncertain), and only the arm of the state that is asked for is run.
SELECT id, trigger_name, state, attempt, error_code, run_at, created_at, started_at, finished_at
FROM requests
WHERE id IN (
    SELECT id FROM requests WHERE state = 'pending' AND ?1 = 'pending'
    UNION ALL SELECT id FROM requests WHERE state = 'triggering' AND ?1 = 'triggering'
    UNION ALL SELECT id FROM requests WHERE state IN ('polling', 'collecting') AND ?1 IN ('polling', 'collecting') AND state = ?1
    UNION ALL SELECT id FROM requests WHERE state = 'uncertain' AND ?1 = 'uncertain'
  )
  AND (?2 IS NULL OR trigger_name = ?2)
ORDER BY id DESC
LIMIT ?3
