-- Of several overdue reviews of one person each is told (docs/decisions/0019-break-glass.md), by the entry of its emergency. The version
-- before tells the earliest, and reads whatever stands there.

ALTER TABLE directory.lock DROP CONSTRAINT lock_pkey, ADD PRIMARY KEY (cell, person, code, event);
