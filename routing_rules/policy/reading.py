"""From text to policy: parsed, drafted, checked. Every mistake at once, or a policy that everybody may rest on. Pure."""

import re
import tomllib
from typing import Any

from routing_rules.pack import Pack
from routing_rules.policy.checks import check
from routing_rules.policy.draft import draft_of, policy_of
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import POLICY_BYTES_MAX, Policy

_KEY_PARTS_MAX = 64
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"""(?<![A-Za-z0-9_"'-])(?:{_KEY_PART}\.[ \t]*+){{{_KEY_PARTS_MAX}}}""")


class PolicyError(Exception):
    """The policy cannot be used. `mistakes` are all of them, each with its place and what to do."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def policy_from(text: str, pack: Pack) -> Policy:
    """The policy that a text states, in the words of the pack. Raises PolicyError with every mistake."""
    document = _document(text)
    mistakes = Mistakes(text)
    draft = draft_of(document, mistakes)
    check(draft, pack, mistakes)
    found = mistakes.lines()
    if found or draft.product is None or draft.directory is None:
        raise PolicyError(found)
    return policy_of(draft, draft.product, draft.directory, pack)


def _document(text: str) -> dict[str, Any]:
    try:
        if len(text.encode()) > POLICY_BYTES_MAX:
            raise PolicyError((f"the policy is larger than {POLICY_BYTES_MAX} bytes",))
        if _LONG_KEY.search(text):  # the parser's work grows with the square of a key's parts
            raise PolicyError((f"a key of the policy has more than {_KEY_PARTS_MAX} parts",))
        return tomllib.loads(text)
    except UnicodeEncodeError as exc:
        raise PolicyError(("the policy is not Unicode text",)) from exc
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise PolicyError((f"not TOML: {exc}",)) from exc
