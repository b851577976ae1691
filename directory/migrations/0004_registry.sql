-- What operators say of regions, cells, shards and services that policy declares: addresses, weights, drains; and who said it when.

CREATE TABLE directory.registry (
    entry     text COLLATE "C" PRIMARY KEY CHECK (entry ~ '^(regions|cells|services)/'),
    version   int     NOT NULL CHECK (version > 0),
    drain     boolean NOT NULL,
    weight    float8  CHECK (weight > 0),                 -- NULL: policy's own
    addresses text[]  CHECK (cardinality(addresses) > 0)  -- NULL: all of policy's hosts
);

CREATE TABLE directory.registry_history (
    seq       bigint      PRIMARY KEY REFERENCES directory.feed,
    entry     text COLLATE "C" NOT NULL,
    version   int         NOT NULL,
    drain     boolean     NOT NULL,
    weight    float8,
    addresses text[],
    at        timestamptz NOT NULL,
    actor     text        NOT NULL,
    reason    text        NOT NULL,
    UNIQUE (entry, version)
);

-- The event that last changed the registry, so that a placement decided before it does not commit after it. The version before appends
-- without looking at it: drains hold for its placements once it has ended.
ALTER TABLE directory.feed_head ADD COLUMN registry_seq bigint NOT NULL DEFAULT 0;
