-- Marks a copy of the database. ?1: now, after it was made. All its requests were there by then, also by a clock that has stepped
-- back in between. Reads the table from end to end.
UPDATE daemon SET backed_up_at = max(?1, coalesce((SELECT max(created_at) FROM requests WHERE typeof(created_at) = 'integer'), 0))
WHERE id = 1
