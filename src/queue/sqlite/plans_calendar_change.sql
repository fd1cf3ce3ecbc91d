-- Calendars of the configuration whose description or zone is another one, or that were somebody else's. ?1: a JSON array of
-- objects. By the name, the primary key; an SQL trigger counts up `revision` where the zone differs.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE calendars AS p SET owner = 'configuration', time_zone = j.value ->> 'time_zone', description = j.value ->> 'description'
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND p.name = j.value ->> 'name'
  AND (p.owner, p.time_zone, p.description) IS NOT ('configuration', j.value ->> 'time_zone', j.value ->> 'description')
