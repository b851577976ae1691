-- What subjects and lookup keys refer to is looked up once for each statement that writes them, instead of once for each row: a foreign key
-- was a quarter of what Postgres took for an import. What is promised is the same (docs/decisions/0009-registry-and-bulk.md): no row refers
-- to a subject, claim or set of facts that is not there. Rows that are referred to never go and keep their ids, so a reference that was
-- there when it was written stays; that too is held here, for whoever holds rights on the tables.

CREATE FUNCTION directory.refuse_to_go() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of directory.% are referred to: they stay, under their ids', TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
END $$;

CREATE TRIGGER subject_stays BEFORE DELETE OR UPDATE OF subject_id ON directory.subject
    FOR EACH ROW EXECUTE FUNCTION directory.refuse_to_go();
CREATE TRIGGER subjects_stay BEFORE TRUNCATE ON directory.subject
    FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse_to_go();
CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OF facts_id ON directory.facts
    FOR EACH ROW EXECUTE FUNCTION directory.refuse_to_go();
CREATE TRIGGER all_facts_stay BEFORE TRUNCATE ON directory.facts
    FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse_to_go();
CREATE TRIGGER claim_stays BEFORE DELETE OR UPDATE OF claim_id ON directory.alias_claim
    FOR EACH ROW EXECUTE FUNCTION directory.refuse_to_go();
CREATE TRIGGER claims_stay BEFORE TRUNCATE ON directory.alias_claim
    FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse_to_go();

-- The plan is made once for a session, maybe when the tables are small: it goes by the primary keys all the same, each by itself.
CREATE FUNCTION directory.subjects_refer() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT facts_id FROM written) AS w
        WHERE (SELECT true FROM directory.facts AS f WHERE f.facts_id = w.facts_id LIMIT 1) IS NULL
    ) THEN
        RAISE EXCEPTION 'a subject refers to facts that are not there' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION directory.keys_refer() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM (SELECT DISTINCT subject_id FROM written WHERE subject_id IS NOT NULL ORDER BY subject_id) AS w
        WHERE (SELECT true FROM directory.subject AS s WHERE s.subject_id = w.subject_id LIMIT 1) IS NULL
    ) OR EXISTS (
        SELECT 1 FROM written AS w WHERE w.claim_id IS NOT NULL
            AND (SELECT true FROM directory.alias_claim AS c WHERE c.claim_id = w.claim_id LIMIT 1) IS NULL
    ) THEN
        RAISE EXCEPTION 'a lookup key refers to a subject or claim that is not there' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER subjects_inserted AFTER INSERT ON directory.subject REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION directory.subjects_refer();
CREATE TRIGGER subjects_updated AFTER UPDATE ON directory.subject REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION directory.subjects_refer();
CREATE TRIGGER keys_inserted AFTER INSERT ON directory.lookup_key REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION directory.keys_refer();
CREATE TRIGGER keys_updated AFTER UPDATE ON directory.lookup_key REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION directory.keys_refer();

ALTER TABLE directory.subject DROP CONSTRAINT subject_facts_id_fkey;
ALTER TABLE directory.lookup_key DROP CONSTRAINT lookup_key_subject_id_fkey, DROP CONSTRAINT lookup_key_claim_id_fkey;
