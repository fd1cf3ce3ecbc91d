-- The daemon pauses trigger ?1 for reason ?2. Where an operator was first, the reason stays. By primary key.
UPDATE triggers SET paused = 1, paused_reason = ?2 WHERE name = ?1 AND paused = 0
