-- New phases. ?1: a JSON array of arrays, whose columns are named below. Each row is found by its primary key and written
-- only if it is still in the state (1), attempt and round (2) that the decision was made from, and nobody has handed it over
-- since: a commit of unknown end that is written again must not undo what an operator has said meanwhile. OR IGNORE: a row that breaks a CHECK (its checks were
-- switched off when it was inserted) is passed over and reported as lost, so that it cannot hold up its neighbours.
-- MATERIALIZED, NOT INDEXED and likelihood() say that j is read first and requests by its primary key: else a table that
-- somebody ANALYZEd when it had few rows would be read from end to end. Here and in all other writes of many rows.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = j.value ->> 3,
  due_at = j.value ->> 4,
  status_uri = j.value ->> 5,
  output_uri = coalesce(j.value ->> 6, output_uri),
  effective_call_mode = j.value ->> 7,
  polls = j.value ->> 8,
  last_polled_at = j.value ->> 9,
  http_status = j.value ->> 10,
  error_code = j.value ->> 11,
  error_message = j.value ->> 12,
  accepted_at = j.value ->> 13,
  finished_at = j.value ->> 14,
  progress = j.value ->> 15
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0 AND requests.state = j.value ->> 1 AND requests.attempt = j.value ->> '$[2][0]'
  AND requests.round = j.value ->> '$[2][1]' AND NOT EXISTS (SELECT 1 FROM handovers AS h WHERE h.request_id = requests.id)
RETURNING requests.id
