-- Whether the file is a copy of `triggerd backup`: when it was made, for us and for people. One row.
SELECT backed_up_at, strftime('%Y-%m-%dT%H:%M:%SZ', backed_up_at / 1000, 'unixepoch') FROM daemon WHERE id = 1
