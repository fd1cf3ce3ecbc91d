-- Whose file it is, and how far it has come: the installation, its last start, and the highest id that it ever gave. One row
-- each.
SELECT instance_id, epoch, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0) FROM daemon WHERE id = 1
