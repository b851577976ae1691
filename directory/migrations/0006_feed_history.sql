-- Which history of the feed a number belongs to, so that a database restored from an older backup is noticed by whoever saw the newer one
-- (docs/decisions/0011-feed-histories.md), and how far back the feed can still be followed.

-- Filled by whoever appends, the version before included.
ALTER TABLE directory.feed ADD COLUMN nonce uuid NOT NULL DEFAULT gen_random_uuid();

ALTER TABLE directory.feed_head
    ADD COLUMN history     text   NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    ADD COLUMN mark_key    uuid   NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN floor       bigint NOT NULL DEFAULT 0,                  -- events up to this one are gone
    ADD COLUMN floor_nonce uuid   NOT NULL DEFAULT gen_random_uuid();  -- what the event at the floor was marked with

CREATE TABLE directory.feed_history (
    history text        PRIMARY KEY,
    began   bigint      NOT NULL,  -- its first event has a greater number
    epoch   bigint      NOT NULL,  -- its first epoch is greater
    at      timestamptz NOT NULL,
    actor   text        NOT NULL,
    reason  text        NOT NULL
);
INSERT INTO directory.feed_history (history, began, epoch, at, actor, reason)
SELECT history, 0, 0, clock_timestamp(), 'service:directory', 'the first' FROM directory.feed_head;

-- Events are pruned; what was published or stated stays known after its event has gone.
ALTER TABLE directory.rules_published DROP CONSTRAINT rules_published_seq_fkey;
ALTER TABLE IF EXISTS directory.registry_history DROP CONSTRAINT IF EXISTS registry_history_seq_fkey;
