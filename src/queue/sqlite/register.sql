-- The configured triggers. ?1: a JSON array of arrays, in the order of these columns, without `active`. `paused` is
-- the operator's and stays.
INSERT INTO triggers (name, call_mode, method, origin, repeatable, max_arguments, active, description)
SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5, 1, j.value ->> 6
FROM json_each(?1) AS j WHERE true
ON CONFLICT (name) DO UPDATE SET
  call_mode = excluded.call_mode, method = excluded.method, origin = excluded.origin, repeatable = excluded.repeatable,
  max_arguments = excluded.max_arguments, active = 1, description = excluded.description
