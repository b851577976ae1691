-- What lookup keys refer to is looked up in one pass over those that a statement wrote, and of their subjects by one descent of the index for
-- many: as promised before (0010), in less time (docs/benchmarks/imports.md).

CREATE OR REPLACE FUNCTION directory.keys_refer() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    subjects uuid[];   -- NULL: none of them leads to anybody yet
    claimed  boolean;
BEGIN
    SELECT array_agg(DISTINCT w.subject_id) FILTER (WHERE w.subject_id IS NOT NULL), bool_or(w.claim_id IS NOT NULL)
    INTO subjects, claimed FROM written AS w;
    IF cardinality(subjects) <> (SELECT count(*) FROM directory.subject AS s WHERE s.subject_id = ANY (subjects))
        OR (claimed AND EXISTS (
            SELECT 1 FROM written AS w WHERE w.claim_id IS NOT NULL
                AND (SELECT true FROM directory.alias_claim AS c WHERE c.claim_id = w.claim_id LIMIT 1) IS NULL
        ))
    THEN
        RAISE EXCEPTION 'a lookup key refers to a subject or claim that is not there' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
