-- Which of the times ?2, a JSON list, of schedule ?1 have a request, and which had one that is gone. By requests_scheduled and
-- schedule_events_by_name.
SELECT
  j.value AS nominal_at, r.id, r.state,
  EXISTS (SELECT 1 FROM schedule_events AS e WHERE e.schedule_name = ?1 AND e.nominal_at = j.value AND e.event = 'fired') AS fired
FROM json_each(?2) AS j
LEFT JOIN requests AS r ON r.schedule_name = ?1 AND r.scheduled_at = j.value
ORDER BY j.value
