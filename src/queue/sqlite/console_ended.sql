-- Tells the daemon of an end that it did not write. By primary key.
INSERT INTO endings (request_id, whole) VALUES (?1, 1) ON CONFLICT (request_id) DO UPDATE SET whole = 1, look_at = 0
