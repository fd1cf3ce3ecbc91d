-- The schedules of a calendar that has changed are looked at anew; one that it kept from being used may be usable now. ?1: the
-- calendar. By schedules_calendar.
UPDATE schedules INDEXED BY schedules_calendar SET revision = revision + 1, look_at = 0, problem = NULL
WHERE calendar IS NOT NULL AND calendar = ?1
