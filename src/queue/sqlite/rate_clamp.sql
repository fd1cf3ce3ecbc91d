-- A clock that was set back must make nobody wait longer. ?1: the trigger, ?2: the key, or empty, ?3: now. By primary key.
UPDATE rate_log SET at = ?3 WHERE trigger_name = ?1 AND key = ?2 AND at > ?3
