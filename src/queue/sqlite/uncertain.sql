-- How many requests wait for an operator, up to ?1. By requests_uncertain, which holds nothing else.
SELECT count(*) FROM (SELECT 1 FROM requests INDEXED BY requests_uncertain WHERE state = 'uncertain' LIMIT ?1)
