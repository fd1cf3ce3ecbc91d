-- What may be retried: state ?1 and trigger ?2 where these are not NULL, ended at or after ?3, oldest first. By
-- requests_finished, which has the state.
SELECT id
FROM requests INDEXED BY requests_finished
WHERE finished_at IS NOT NULL AND finished_at >= ?3
  AND (state = 'failed' OR state = 'rejected' OR state = 'expired' OR state = 'cancelled')
  AND (?1 IS NULL OR state = ?1)
  AND (?2 IS NULL OR trigger_name = ?2)
ORDER BY finished_at, id
