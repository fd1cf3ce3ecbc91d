-- Pauses (?2 is 1) or resumes (0) schedule ?1, for reason ?3; the SQL triggers see to the rest. By primary key.
UPDATE schedules SET paused = ?2, paused_reason = ?3 WHERE name = ?1
