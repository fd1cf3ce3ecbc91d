-- Triggers that an operator has paused, with the reason. A small table.
SELECT name, paused_reason FROM triggers WHERE paused = 1 AND active = 1 ORDER BY name
