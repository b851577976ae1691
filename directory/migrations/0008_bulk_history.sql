-- The first entries of an imported subject's history stand with the part it was imported by, once for all its members: a history of its
-- own begins with what happens to it alone. The version before writes and reads entries of each member, which goes on beside this.

ALTER TABLE directory.subject ADD COLUMN part bigint;        -- NULL: placed by itself, or imported by the version before

ALTER TABLE directory.bulk_batch ADD COLUMN provenances jsonb[];  -- the reasons that its rows had in common

ALTER TABLE directory.bulk_part
    ADD COLUMN at              timestamptz,
    ADD COLUMN actor           text,
    ADD COLUMN kinds           smallint[],                   -- of each member: which of the batch's reasons
    ADD COLUMN acknowledged_by text;

-- Each subject's history, whole.
CREATE VIEW directory.entry AS
SELECT subject_id, number, at, actor, reason, from_state, to_state, epoch, provenance
FROM directory.history
UNION ALL
SELECT s.subject_id, 1, p.at, p.actor, j.reason, NULL, 'reserved', p.epochs[m.nth], b.provenances[p.kinds[m.nth]]
FROM directory.subject s
JOIN directory.bulk_part p ON p.part = s.part
JOIN directory.bulk_batch b ON b.job_id = p.job_id AND b.number = p.number
JOIN directory.bulk_job j ON j.job_id = p.job_id
CROSS JOIN LATERAL (SELECT array_position(p.subject_ids, s.subject_id) AS nth) m
UNION ALL
SELECT s.subject_id, 2, p.acknowledged_at, p.acknowledged_by, 'fence raised', 'reserved', 'active', p.epochs[m.nth], NULL
FROM directory.subject s
JOIN directory.bulk_part p ON p.part = s.part
CROSS JOIN LATERAL (SELECT array_position(p.subject_ids, s.subject_id) AS nth) m
WHERE p.acknowledged_at IS NOT NULL
    -- Whoever was changed by itself before was passed by.
    AND NOT EXISTS (SELECT FROM directory.history h WHERE h.subject_id = s.subject_id AND h.number = 2);
