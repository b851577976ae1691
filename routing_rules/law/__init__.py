"""The law as rows, evaluated: what may be transferred, what may be kept and handled where. Pure; docs/evaluation.md defines it.

`Law` is what others ask; `questions` holds what they ask and what comes back. Inside: `standing` whose law it is, `transfer` and `storage`
the two questions, `obligations` the duties. All of them rest on `calendar` (does a row count on a day), `places` (what a destination
names), `tags` (what data it is), `evidence` (what the operator can show), `reasons` (rows by name) and `truth` (yes, no, unknown).
"""

from routing_rules.law.law import Change, Law

__all__ = ["Change", "Law"]
