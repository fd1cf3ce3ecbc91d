-- How many requests a copy has. By the smallest index that has all of them, or by the table.
SELECT count(*) FROM requests
