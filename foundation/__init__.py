"""What every service stands on: a closed list of small modules (docs/decisions/0001)."""

import sys

# Wherever rich and pygments are installed httpx imports them, for a command of its own: 4 MiB of each process that asks anything by HTTP.
# It does without where it cannot have that module.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: cannot be imported
