-- The next outputs of a walk through all of them: the last one's request, and how many they are. ?1: behind this request, ?2: how
-- many. By primary key.
SELECT max(request_id), count(*) FROM (SELECT request_id FROM outputs WHERE request_id > ?1 ORDER BY request_id LIMIT ?2)
