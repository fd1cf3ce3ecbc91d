-- Who holds the unique key of request ?1, which has ended, so that it cannot be opened again. By requests_unique_unfinished.
SELECT twin.id, twin.state
FROM requests AS r
JOIN requests AS twin ON twin.trigger_name = r.trigger_name AND twin.unique_key = r.unique_key AND twin.id <> r.id
WHERE r.id = ?1 AND twin.unique_key IS NOT NULL
  AND (twin.state = 'pending' OR twin.state = 'triggering' OR twin.state = 'polling' OR twin.state = 'collecting' OR twin.state = 'uncertain')
LIMIT 1
