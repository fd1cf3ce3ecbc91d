-- A copy that `triggerd backup` made says so, wherever it is put: the daemon does not start on it before somebody has said
-- what becomes of the requests that wait in it. They may have been fired since.

PRAGMA user_version = 3;

-- NULL but in such a copy: when it was made.
ALTER TABLE daemon ADD COLUMN backed_up_at INTEGER;
