"""`python -P up.py --state DIR`: the embedded stack whose processes may hold a mistake (entry.py)."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from deploy.local import parts, up

ENTRY = Path(__file__).with_name("entry.py")


def main() -> int:
    plain = parts._service

    def service(*args: Any) -> Any:
        spec = plain(*args)
        program, path, _, module, *rest = spec.command
        return msgspec.structs.replace(spec, command=(program, path, str(ENTRY), module, *rest))

    parts._service = service
    return up._command()


if __name__ == "__main__":
    sys.exit(main())
