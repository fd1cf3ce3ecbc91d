-- What is settled of a schedule. ?1: its name, ?2: the revision that was read, ?3: the last time that is settled (NULL: as it was),
-- ?4: the next one, ?5: the expression in words, ?6: the last request (NULL: as it was). Times only move forward. By primary key.
UPDATE schedules SET
  revision = revision + 1,
  last_at = max(coalesce(last_at, created_at), coalesce(?3, last_at, created_at)),
  next_at = ?4,
  look_at = ?4,
  words = ?5,
  last_request_id = coalesce(?6, last_request_id)
WHERE name = ?1 AND revision = ?2
