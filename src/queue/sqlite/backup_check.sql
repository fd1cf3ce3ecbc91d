-- Damage to a copy, line by line, or "ok": every page is read, and each index compared with its table. A CHECK or NOT NULL that
-- does not hold is told too, as in console_damage.sql.
PRAGMA integrity_check(1000)
