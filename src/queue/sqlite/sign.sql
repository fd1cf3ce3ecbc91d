-- A sign of life. ?1: now, ?2: whether recovery and the first look are done, ?3: whether it is the last one.
UPDATE daemon SET
  seen_at = ?1,
  ready_at = CASE WHEN ?2 THEN coalesce(ready_at, ?1) ELSE ready_at END,
  stopped_at = CASE WHEN ?3 THEN ?1 END
WHERE id = 1
