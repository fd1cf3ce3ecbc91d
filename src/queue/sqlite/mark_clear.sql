-- It has been said what becomes of what waits in a copy that was put back. One row.
UPDATE daemon SET backed_up_at = NULL WHERE id = 1
