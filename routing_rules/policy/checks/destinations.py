"""`[destinations.ID]`: where releases of egress may go. Pure."""

from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.operator import recipient_classes
from routing_rules.policy.checks.words import check_country, check_purpose, check_subdivision
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes


def check_destinations(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    classes = recipient_classes(pack)
    for name, one in draft.destinations.items():
        at: Path = ("destinations", name)
        if check_country(one.country, (*at, "country"), pack, mistakes):
            check_subdivision(one.subdivision, one.country, (*at, "subdivision"), mistakes)
        if not one.purposes:
            mistakes.add((*at, "purposes"), "is empty; a destination that nothing may go to is left out")
        for n, purpose in enumerate(one.purposes, start=1):
            check_purpose(purpose, (*at, "purposes", n), pack, mistakes)
        for n, stated in enumerate(one.recipient_classes or (), start=1):
            if stated not in classes:
                what = f"no class {shown(stated)} in the pack"
                mistakes.add_unknown((*at, "recipient_classes", n), what, stated, classes)
