-- Why a placement is where it is, with the entry of the history that placed it. NULL: the entry placed nothing, or was written by the
-- version before, which goes on reading and writing beside this column.

ALTER TABLE directory.history ADD COLUMN provenance jsonb;
