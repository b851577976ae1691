-- By which steps a cell's locks stood and fell when it told last (docs/decisions/0019-break-glass.md), and what it told by a history that it
-- lost since: that stands until the cell lifts it by a step made since, or an operator forgets the cell. What a cell told before this
-- migration has no digest; its next telling is judged by `locking` alone, and brings one.

ALTER TABLE directory.lock_cell
    ADD COLUMN steps  bigint CHECK (steps >= 0),
    ADD COLUMN digest text   CHECK (digest ~ '^[0-9a-f]{64}$');  -- of so many steps; both null where the cell told none

CREATE TABLE directory.lock_kept (
    cell     text   NOT NULL REFERENCES directory.lock_cell,
    person   text   COLLATE "C" NOT NULL CHECK (person ~ '^[0-9a-f]{64}$'),
    code     text   NOT NULL CHECK (code IN ('locked', 'review_overdue')),
    since_us bigint NOT NULL,
    event    text   NOT NULL,                           -- the entry of the history that was lost
    PRIMARY KEY (cell, person, code, since_us, event)
);
