-- Tells the daemon of a row that came to be polled without it.
INSERT OR IGNORE INTO handovers (request_id) VALUES (?1)
