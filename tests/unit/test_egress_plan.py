"""What leaves for whom: the law for the data as such and for each tag, the contract's words, consent. The law is the bundled pack's."""

import datetime
from typing import Any

import msgspec
import pytest

from cells.egress.plan import Field, TablePlan, Why, schema
from cells.egress.values import Kind
from cells.records.contracts import parse
from foundation.words import CellId, DestinationId
from routing_rules.law.questions import Answer
from routing_rules.release import Consent, ReleaseFacts, may_transfer
from routing_rules.rules import PolicyError, load
from tests.stands.egress import (
    CONSENT_SCHEME,
    DESTINATIONS,
    EU,
    PEOPLE,
    SHOP,
    TODAY,
    Found,
    batch,
    people,
    person,
    row,
    rules,
    treated,
    treater,
)

IN = CellId("in-mum")


def planned(
    to: str, residence: str = "DE", *, cell: CellId = EU, consent: Consent = Consent.UNSAID, **more: Any
) -> TablePlan:
    return treater(to, cell=cell, **more).plan_of(person(residence, consent))


def field(plan: TablePlan, name: str) -> Field:
    return next(one for one in plan.fields if one.name == name)


def test_the_same_column_passes_to_the_united_kingdom_is_generalised_to_the_united_states_and_dropped_from_india() -> (
    None
):
    born = {
        (to, home): field(planned(to, home, cell=cell), "born").treatment.kind
        for to, home, cell in (
            ("uk-lake", "DE", EU),
            ("us-lake", "DE", EU),
            ("uk-lake", "IN", IN),
            ("us-lake", "IN", IN),
        )
    }
    assert born == {
        ("uk-lake", "DE"): "keep",
        ("us-lake", "DE"): "age_band",
        ("uk-lake", "IN"): "drop",
        ("us-lake", "IN"): "drop",
    }


def test_where_the_data_as_such_may_not_go_nothing_goes_however_it_is_stripped() -> None:
    plan = planned("us-lake", "GB")
    assert (plan.answer, plan.goes) == (Answer.DENY, False)
    assert "no instrument on file" in plan.ground
    found = treated(treater("us-lake"), row(), row(2), whose=person("GB"))
    assert (found.rows, found.stayed) == (0, {plan.ground: 2})
    assert not any(found.columns.values())


def test_a_column_whose_kind_of_data_may_not_go_stays_alone_and_duties_come_out() -> None:
    to_us, to_uk = planned("us-lake"), planned("uk-lake")
    assert (field(to_us, "illness").why, field(to_us, "illness").leaves) == (Why.LAW, False)
    assert field(to_uk, "illness").leaves
    assert to_us.goes
    assert to_us.answer is Answer.ALLOW_WITH
    assert to_us.duties
    assert to_uk.answer is Answer.ALLOW


def test_a_coarse_place_is_no_precise_location_any_more() -> None:
    located = rules(*(EVIDENCE.format(gateway) for gateway in ("scc", "impact_assessment")))
    assert may_transfer(asked(tags=("location",)), located, TODAY).answer.allows
    assert not may_transfer(asked(tags=("precise_location",)), located, TODAY).answer.allows
    assert field(planned("us-lake", held=located), "place").treatment.kind == "geohash"
    assert field(planned("us-lake"), "place").why is Why.LAW


EVIDENCE = """
[[instruments]]
from = "eu"
to = "us"
gateway = "{0}"
ref = "PLACES-{0}"
tags = ["location"]
since = 2026-03-01
until = 2029-02-28
"""


def asked(**more: Any) -> ReleaseFacts:
    subject = person().subject
    facts = ReleaseFacts(subject=subject, cell=EU, destination=DestinationId("us-lake"), purpose="analytics")
    return msgspec.structs.replace(facts, **more)


@pytest.mark.parametrize(
    ("more", "answer", "ground"),
    [
        ({"destination": "us-lak"}, Answer.UNKNOWN, "declares no destination 'us-lak'; did you mean us-lake?"),
        ({"cell": "eu-fr"}, Answer.UNKNOWN, "declares no cell"),
        ({"purpose": "care"}, Answer.DENY, "purposes does not name 'care'"),
        ({"consent": Consent.WITHHELD}, Answer.DENY, "has said no to analytics"),
        ({"tags": ("helth",)}, Answer.UNKNOWN, "none that the pack knows"),
        ({"subject": person("XX").subject}, Answer.UNKNOWN, ""),
        ({"subject": person("RU").subject}, Answer.DENY, "ru -> *"),
    ],
)
def test_what_is_not_known_or_declared_refuses(more: dict[str, Any], answer: Answer, ground: str) -> None:
    found = may_transfer(asked(**more), rules(), TODAY)
    assert found.answer is answer
    assert ground in found.ground


def test_a_consent_scheme_on_file_speaks_for_those_alone_who_said_yes() -> None:
    # Under the common reading only: the cautious one takes a consent on occasion for no ground.
    text = SHOP.read_text().replace('profile = "cautious"', 'profile = "common"') + DESTINATIONS
    with_scheme = load(text + CONSENT_SCHEME)
    subject = person("GB").subject

    def answer(consent: Consent, held: Any) -> Answer:
        return may_transfer(asked(subject=subject, consent=consent), held, TODAY).answer

    assert answer(Consent.GIVEN, with_scheme).allows
    assert not answer(Consent.UNSAID, with_scheme).allows
    assert not answer(Consent.WITHHELD, with_scheme).allows
    assert not answer(Consent.GIVEN, load(text)).allows


def test_who_has_said_no_never_leaves_and_where_the_contract_asks_for_a_yes_silence_is_none() -> None:
    asking = people(f"{PEOPLE}asks: {{analytics: opt_in}}\n")
    ways = {
        (one, contract is not None): planned("uk-lake", consent=one, contract=contract).goes
        for one in Consent
        for contract in (None, asking)
    }
    assert {key for key, goes in ways.items() if goes} == {
        (Consent.GIVEN, False),
        (Consent.UNSAID, False),
        (Consent.GIVEN, True),
    }


def test_who_opted_out_of_sale_leaves_in_no_sale_whatever_is_on_file_and_their_no_is_to_that_alone() -> None:
    virginian = CellId("us-va")
    sold = {one: planned("us-lake", "US", cell=virginian, purpose="sale", consent=one) for one in Consent}
    assert sold[Consent.UNSAID].goes
    assert (sold[Consent.WITHHELD].answer, sold[Consent.WITHHELD].goes) == (Answer.DENY, False)
    assert sold[Consent.WITHHELD].ground == "the person has said no to sale"
    made = treater("us-lake", "sale", cell=virginian)
    opted_out = person("US", Consent.WITHHELD)
    found = made.treat(batch(row(1), row(2), whose=[person("US"), opted_out]))
    assert (found.rows, found.columns["item"], found.stayed) == (1, ["item 1"], {"the person has said no to sale": 1})


def test_a_column_that_serves_other_purposes_leaves_changed_and_only_where_the_contract_names_this_one() -> None:
    assert field(planned("uk-lake"), "email").treatment.kind == "mask_domain"
    # default: keep is stated, and its purposes are [service].
    care = field(planned("uk-lake", purpose="care"), "email")
    assert (care.why, care.leaves) == (Why.PURPOSE, False)


def test_of_two_statements_that_speak_as_closely_and_differ_neither_counts() -> None:
    text = PEOPLE.replace("{default: month}", '{"to:uk": month, "purpose:analytics": year, default: drop}')
    seen = field(planned("uk-lake", contract=people(text)), "seen")
    assert (seen.why, seen.leaves) == (Why.AMBIGUOUS, False)
    closer = text.replace('"to:uk": month', '"to:uk": month, "to:uk+purpose:analytics": year')
    assert str(field(planned("uk-lake", contract=people(closer)), "seen").treatment) == "year"


def test_unclassified_and_sealed_columns_and_those_of_which_nothing_is_stated_stay() -> None:
    plan = planned("uk-lake")
    assert {name: field(plan, name).why for name in ("shadow", "card", "id")} == {
        "shadow": Why.UNCLASSIFIED,
        "card": Why.SEALED,
        "id": Why.NOT_STATED,
    }
    assert not {"shadow", "card", "id"} & {name for name, _ in treater("uk-lake").schema}


def test_json_is_walked_by_its_own_contract_and_what_it_does_not_name_is_dropped_and_counted() -> None:
    extra = '{"theme": "dark", "mail": "x@y.example", "tries": [1, "two", 3], "ann@z.example": 1}'
    found = treated(treater("uk-lake"), row(extra=extra), row(2, extra="[1]"))
    assert found.columns["extra"] == [{"theme": "dark", "tries": [1, 3]}, None]
    assert found.counts["extra"] == {"passed": 1, "unfit": 1, "unnamed": 1}
    assert found.counts["extra.mail"] == {"dropped": 1}
    assert found.counts["extra.tries[]"] == {"passed": 2, "unfit": 1}
    assert "ann@z.example" not in repr(found)


def test_a_value_that_does_not_fit_a_changed_type_and_a_missing_key_are_counted_and_never_pass() -> None:
    made = treater(
        "uk-lake", contract=people(PEOPLE.replace("leaving: {default: token}", "leaving: {default: token(lake)}"))
    )
    found = made.treat(batch(row(email="nobody", item=7), row(2), drifted=("tier",), unnamed=4))
    assert found.columns["email"] == [None, "mail.example.com"]
    assert found.columns["item"] == [None, "item 2"]
    assert found.columns["tier"] == found.columns["subject_id"] == [None, None]
    assert found.counts["email"] == {"passed": 1, "unfit": 1}
    assert found.counts["tier"] == {"changed_type": 2}
    assert found.counts["subject_id"] == {"unmade": 2}
    assert found.counts[""] == {"unnamed": 4}


def test_a_null_stays_one() -> None:
    nothing: dict[str, Any] = {name: None for name in row() if name not in ("subject_id", "id")}
    found = treated(treater("uk-lake"), row(**nothing))
    assert {name: values for name, values in found.columns.items() if values != [None]}.keys() == {"subject_id"}


def test_rows_of_people_under_different_laws_leave_each_under_its_own_and_look_alike() -> None:
    made = treater("us-lake")
    mixed = [person("DE"), None, person("GB"), person("FR")]
    found = made.treat(batch(*(row(number) for number in range(1, 5)), whose=mixed))
    assert found.rows == 2
    assert sum(found.stayed.values()) == 2
    assert found.stayed["it is not known whose law the person is under"] == 1
    assert found.columns["item"] == ["item 1", "item 4"]


def test_a_column_that_holds_different_things_for_different_people_is_text_for_all() -> None:
    text = PEOPLE.replace('"to:us": age_band, "from:in": drop, "from:in+to:us": drop', '"from:fr": year')
    contract = people(text)
    made = treater("uk-lake", contract=contract)
    assert dict(made.schema)["born"] is Kind.TEXT
    assert treated(made, row(), whose=person()).columns["born"] == ["1990-05-17"]
    assert dict(schema(people(), made.release, rules()))["born"] is Kind.DATE


def naive_scan(strings: Any, _name: str) -> list[list[Found]]:
    """Finds texts that hold an @, and the digits of a phone number."""
    found = []
    for text in strings:
        at = text.find("@")
        digits = text.find("030 1234567")
        found.append([Found("email", 0, len(text))] * (at >= 0) + [Found("phone", digits, digits + 11)] * (digits >= 0))
    return found


def test_free_text_leaves_redacted_by_the_scanner_and_without_one_not_at_all() -> None:
    assert treated(treater("uk-lake", scan=naive_scan), row()).columns["note"] == ["call me on [phone]"]
    without = treater("uk-lake")
    assert treated(without, row()).columns["note"] == [None]
    assert without.unmade(person()) == {"note": "there is no scanner"}


def test_a_finding_where_the_contract_says_clean_holds_the_whole_batch_back() -> None:
    made = treater("uk-lake", scan=naive_scan)
    found = made.treat(batch(row(), row(2, item="ann@leak.example"), row(3)))
    assert (found.rows, found.columns) == (0, {})
    assert [(one.field, one.kind, one.count) for one in found.held] == [("item", "email", 1)]
    inside = made.treat(batch(row(extra='{"theme": "ann@leak.example"}')))
    assert [(one.field, one.kind) for one in inside.held] == [("extra.theme", "email")]
    assert treated(made, row()).rows == 1


def test_the_scanner_is_shown_each_string_of_a_field_once_and_a_finding_counts_wherever_it_stands() -> None:
    shown: dict[str, list[str]] = {}

    def scan(strings: Any, name: str) -> list[list[Found]]:
        shown[name] = list(strings)
        return naive_scan(strings, name)

    made = treater("uk-lake", scan=scan)
    items = ("ann@leak.example", "x", "ann@leak.example", "", "x", "ann@leak.example")
    found = made.treat(batch(*(row(number, item=item, note=None) for number, item in enumerate(items))))
    assert shown["item"] == ["ann@leak.example", "x", ""]
    assert [(one.field, one.kind, one.count) for one in found.held] == [("item", "email", 3)]
    silent = treater("uk-lake", scan=lambda strings, _: [[]] * (len(strings) - 1))
    held = silent.treat(batch(*(row(number, item="x", note=None) for number in range(3)))).held
    assert ("item", "unscanned", 3) in [(one.field, one.kind, one.count) for one in held]


def test_a_scanner_that_does_not_answer_for_every_string_holds_the_batch_back() -> None:
    found = treated(treater("uk-lake", scan=lambda strings, _: [[]] if len(strings) == 1 else []), row(), row(2))
    assert {one.kind for one in found.held} == {"unscanned"}


def test_an_answer_says_until_when_it_holds() -> None:
    changes = planned("us-lake").valid_until
    assert changes is not None
    assert changes > TODAY
    later = treater("us-lake", at=datetime.date(2029, 3, 1)).plan_of(person())
    assert later.answer is Answer.DENY


@pytest.mark.parametrize(
    ("stated", "instead", "says"),
    [
        ('country = "BR"', 'country = "BRA"', "destinations.br-lake.country: no country 'BRA'"),
        ('country = "US"\npurposes', 'country = "US"\nsubdivision = "DE-BE"\npurposes', "DE-BE is no part of 'US'"),
        ('purposes = ["analytics", "sale"]', "purposes = []", "destinations.us-lake.purposes: is empty"),
        ('"sale"', '"sales"', "destinations.us-lake.purposes[2]: is 'sales'; write sale"),
        ("[destinations.us-lake]", "[destinations.US_LAKE]", "destinations.US_LAKE: a destination id is"),
        ("recipient_classes = []\n[destinations.uk", 'recipient_classes = ["dpf"]\n[destinations.uk', "no class 'dpf'"),
        ("[destinations.us-lake]\n", "[destinations.us-lake]\nplace = 1\n", "destinations.us-lake.place: unknown key"),
        *(
            ("[destinations.us-lake]\n", f"[destinations.us-lake]\nsinks = ['{url}']\n", f"us-lake.sinks[1]: {says}")
            for url, says in (
                ("/mnt/lake", "must be a URL"),
                ("s3:///in", "must be a URL"),
                ("s3://lake/../other", "must be a URL"),
                ("https://lake.example.com/in?token=1", "must be a URL"),
                ("https://ann:pass@lake.example.com/in", "must name no user"),
                ("http://lake.example.com/in", "must be https"),
                ("http://[lake/in", "not a URL"),
            )
        ),
    ],
)
def test_a_destination_that_cannot_be_is_a_mistake_of_policy(stated: str, instead: str, says: str) -> None:
    assert stated in DESTINATIONS
    with pytest.raises(PolicyError) as refused:
        load(SHOP.read_text() + DESTINATIONS.replace(stated, instead, 1))
    assert says in str(refused.value)


def test_a_consent_table_names_its_columns() -> None:
    text = PEOPLE + "consent: {purpose: item, given: item}\n"
    with pytest.raises(Exception, match=r"consent\.given: 'item' is no classified, unsealed boolean column"):
        parse(text, where="people.yaml")


def test_a_destination_takes_what_lies_below_its_sinks_and_nothing_beside_them() -> None:
    stated = 'sinks = ["s3://lake/in", "http://127.0.0.1:8080/"]\n'
    policy = SHOP.read_text() + DESTINATIONS.replace("[destinations.us-lake]\n", f"[destinations.us-lake]\n{stated}", 1)
    to = load(policy).policy.destinations[DestinationId("us-lake")]
    taken = ["s3://lake/in", "s3://lake/in/", "s3://lake/in/2026", "http://127.0.0.1:8080/any"]
    others = [
        "s3://lake",
        "s3://lake/inside",
        "s3://other/in",
        "s3://lake/in/../out",
        "s3://lake/in/%2e%2e/out",
        "s3://lake/in/?a=1",
        "http://127.0.0.1:80801/any",
        "in",
    ]
    assert [to.takes(url) for url in taken] == [True] * len(taken)
    assert [to.takes(url) for url in others] == [False] * len(others)
