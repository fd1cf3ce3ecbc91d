-- The firings that ended, one row each. ?1: a JSON array of arrays, in the order of these columns.
INSERT OR REPLACE INTO attempts
  (request_id, attempt, round, started_at, ended_at, http_status, outcome, status_uri, error_code, error_message)
SELECT
  j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5, j.value ->> 6, j.value ->> 7,
  j.value ->> 8, j.value ->> 9
FROM json_each(?1) AS j
