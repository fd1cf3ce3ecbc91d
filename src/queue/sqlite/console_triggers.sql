-- The names of all triggers, those of the configuration first. No index: there are few.
SELECT name FROM triggers ORDER BY active DESC, name
