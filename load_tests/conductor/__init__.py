"""The process that conducts a run: starts what plays, breaks what the scenario says, and judges at the end. No gevent here."""
