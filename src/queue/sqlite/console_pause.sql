-- Pauses (?2 is 1) or resumes (0) trigger ?1, for reason ?3. By primary key.
UPDATE triggers SET paused = ?2, paused_reason = ?3 WHERE name = ?1
