-- Forgets what no rate of the configuration counts. ?1: a JSON array of triggers with a rate, ?2: one of those with a rate for
-- each key. The whole of rate_log, which has no more rows than the rates count; at a start and a reload.
DELETE FROM rate_log
WHERE (key = '' AND trigger_name NOT IN (SELECT value FROM json_each(?1)))
  OR (key <> '' AND trigger_name NOT IN (SELECT value FROM json_each(?2)))
