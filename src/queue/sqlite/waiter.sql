-- A request that gets the output of another as an argument. ?1: its id. Its arguments as long as its trigger allows. By primary
-- keys.
SELECT
  w.after_argument, w.after_pointer, coalesce(t.max_arguments, 65536),
  CASE WHEN octet_length(w.arguments) <= coalesce(t.max_arguments, 65536) THEN w.arguments END
FROM requests AS w LEFT JOIN triggers AS t ON t.name = w.trigger_name
WHERE w.id = ?1
