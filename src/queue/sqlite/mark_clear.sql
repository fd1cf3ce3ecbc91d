-- It has been said what becomes of what waits in a copy that was put back. ?1: the last start that the flight record knows. Its
-- number and the next are skipped, so that no start takes that record for its predecessor's. One row.
UPDATE daemon SET backed_up_at = NULL, epoch = max(epoch, ?1) + 1 WHERE id = 1
