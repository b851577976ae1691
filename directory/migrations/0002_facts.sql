-- What rules ask of a person beyond the country of residence. NULL: not known (subdivision), not asked (citizenships).
-- Added with no default, so the version before keeps reading and writing; its rows say truly that these are not known.

ALTER TABLE directory.facts
    ADD COLUMN subdivision  text CHECK (subdivision ~ '^[A-Z]{2}-[A-Z0-9]{1,3}$'),
    ADD COLUMN citizenships text[];

ALTER TABLE directory.facts
    DROP CONSTRAINT facts_regimes_residence_tags_terms_key,
    ADD CONSTRAINT facts_are_one UNIQUE NULLS NOT DISTINCT (regimes, residence, subdivision, citizenships, tags, terms);
