-- Groups that are open are looked at again: the trigger of one may be there now. By request_groups_open.
UPDATE request_groups INDEXED BY request_groups_open SET looked = 0 WHERE completed_at IS NULL
