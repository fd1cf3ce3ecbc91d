-- Damage to the file, at most five lines, or "ok". No index: every page is read, but not each index compared with its table.
PRAGMA quick_check(5)
