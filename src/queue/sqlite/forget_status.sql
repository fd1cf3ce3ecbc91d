-- Forgets what triggers were doing: at a start all of it (?1 = 1), else of those that have left the configuration.
DELETE FROM trigger_status
WHERE ?1 OR NOT EXISTS (SELECT 1 FROM triggers AS t WHERE t.name = trigger_status.trigger_name AND t.active = 1)
