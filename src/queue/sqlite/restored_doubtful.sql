-- Requests of a copy that was put back which may have been fired since, and may not be fired twice: pending, of a trigger that
-- is not configured as repeatable. ?1: created at or before; those that came later were not fired. By requests_wake, from end to
-- end; it holds nothing but pending ones.
SELECT id FROM requests INDEXED BY requests_wake
WHERE state = 'pending' AND created_at <= ?1
  AND NOT EXISTS (SELECT 1 FROM triggers AS t WHERE t.name = requests.trigger_name AND t.repeatable = 1 AND t.active = 1)
