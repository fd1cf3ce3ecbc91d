-- The outputs that came. ?1: a JSON array of arrays: these columns, and before the body whether it is hex, as one that is not
-- UTF-8 travels.
INSERT OR REPLACE INTO outputs (request_id, content_type, bytes, truncated, body)
SELECT
  j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3,
  CASE WHEN j.value ->> 4 THEN unhex(j.value ->> 5) ELSE j.value ->> 5 END
FROM json_each(?1) AS j
