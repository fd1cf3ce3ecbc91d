-- Pending rows that name no trigger at all: their checks were switched off. Only asked when heads.sql saw such a name.
SELECT id FROM requests INDEXED BY requests_candidates
WHERE state = 'pending' AND held_by IS NULL AND NOT EXISTS (SELECT 1 FROM triggers AS t WHERE t.name = requests.trigger_name)
LIMIT 500
