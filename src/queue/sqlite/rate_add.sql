-- Firings to be counted. ?1: the trigger, ?2: the key, or empty, ?3: the last number so far, ?4: now, ?5: how many.
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?5)
INSERT INTO rate_log (trigger_name, key, seq, at) SELECT ?1, ?2, ?3 + i, ?4 FROM n
