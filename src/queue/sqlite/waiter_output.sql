-- The output that it gets: whether it is whole, and text. ?1: whose. By primary key.
SELECT truncated, typeof(body) = 'text', CASE WHEN truncated = 0 AND typeof(body) = 'text' THEN body END
FROM outputs WHERE request_id = ?1
