-- They were: the same ones as groups_new.sql has given, also where their keys are no text. ?1: how many. By request_groups_new.
UPDATE request_groups SET looked = 1 WHERE group_key IN (
  SELECT group_key FROM request_groups INDEXED BY request_groups_new WHERE looked = 0 ORDER BY group_key LIMIT ?1
)
