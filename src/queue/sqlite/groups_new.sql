-- Groups that somebody wants to hear of, and that were not looked at yet. By request_groups_new.
SELECT group_key FROM request_groups INDEXED BY request_groups_new WHERE looked = 0 ORDER BY group_key LIMIT ?1
