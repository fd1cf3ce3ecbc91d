-- Ends that must still be looked at. ?1: a JSON array of [id, whether all of it is to be done, not before]. By primary key.
INSERT INTO endings (request_id, whole, look_at)
SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2 FROM json_each(?1) AS j
WHERE true -- else ON would be a join's
ON CONFLICT (request_id) DO UPDATE SET whole = max(whole, excluded.whole), look_at = min(look_at, excluded.look_at)
