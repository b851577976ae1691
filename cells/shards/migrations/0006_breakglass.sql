-- What the outbox holds of break-glass (docs/decisions/0019-break-glass.md) is read in the order of its positions, and little of it is that.
CREATE INDEX outbox_of_breakglass ON domicile.outbox (position) WHERE kind IN ('grant', 'lock', 'exception');
