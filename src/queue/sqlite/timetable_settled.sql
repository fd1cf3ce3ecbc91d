-- What is settled of a schedule. ?1: its name, ?2: the last time that is settled (NULL: as it was), ?3: the next one, ?4: the
-- expression in words, ?5: the last request (NULL: as it was). Times only move forward. By primary key.
UPDATE schedules SET
  revision = revision + 1,
  last_at = max(coalesce(last_at, created_at), coalesce(?2, last_at, created_at)),
  next_at = ?3,
  look_at = ?3,
  words = ?4,
  last_request_id = coalesce(?5, last_request_id)
WHERE name = ?1
