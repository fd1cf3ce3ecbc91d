-- The daemon knows this revision of a calendar. ?1: its name, ?2: the revision, ?3: why it cannot be used, if so. By primary key.
UPDATE calendars SET seen_revision = ?2, problem = ?3 WHERE name = ?1
