-- Damage to the file, line by line, or "ok". No index: every page is read, but not each index compared with its table. A CHECK or
-- NOT NULL that does not hold is told too, a line for each row: enough of them that they do not crowd out the damage.
PRAGMA quick_check(1000)
