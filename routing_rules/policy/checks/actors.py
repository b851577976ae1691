"""`[actors.ID]`: services that act for subjects. Pure."""

from foundation.words import Verb
from routing_rules.hints import shown
from routing_rules.pack import Pack
from routing_rules.policy.checks.words import check_country, check_regime, check_subdivision
from routing_rules.policy.draft import Draft
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes


def check_actors(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    for name, actor in draft.actors.items():
        at: Path = ("actors", name)
        if check_country(actor.country, (*at, "country"), pack, mistakes):
            check_subdivision(actor.subdivision, actor.country, (*at, "subdivision"), mistakes)
        for n, service in enumerate(actor.services, start=1):
            if service not in draft.declared.services:
                what = f"no service {shown(service)}"
                mistakes.add_unknown((*at, "services", n), what, service, draft.declared.services)
        for n, regime in enumerate(actor.jurisdictions, start=1):
            check_regime(regime, (*at, "jurisdictions", n), pack, mistakes)
        if Verb.SIGNUP in actor.verbs:
            mistakes.add((*at, "verbs"), "who acts for a person reads or writes; people sign up themselves")
        for key, stated in (
            ("services", actor.services),
            ("jurisdictions", actor.jurisdictions),
            ("verbs", actor.verbs),
        ):
            if not stated:
                mistakes.add((*at, key), "is empty; an actor that may do nothing is left out")
