-- Says of request ?1, which was inserted just now, that it is of schedule ?2 and of its time ?3 (NULL: of none). By primary
-- key; it enters requests_scheduled, which lets in one for each time.
UPDATE requests SET schedule_name = ?2, scheduled_at = ?3 WHERE id = ?1
