-- Empties it; in the transaction that has read it, so that none is missed.
DELETE FROM handovers
