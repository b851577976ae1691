"""Operator, actors, instruments, travellers, terms, and the parts of countries: what the policy may say there, held to the pack's words."""

import datetime

import pytest

from routing_rules.policy import Actor, Instrument, Policy, Terms
from routing_rules.rules import PolicyError, load
from tests.stands.rules import POLICY, policy_with

OPERATOR = """
[operator]
country = "DE"
sectors = []
recipient_classes = []
overlays = []
counts = {}
"""
SUPPORT = '[actors.support-desk]                # acts for people who ask it to, from Germany\ncountry = "DE"\n'
SCC = 'gateway = "scc"\nref = "DEMO-SCC-EU-US"\nsince = 2026-03-01\nuntil = 2029-02-28\n'
BARE = POLICY[: POLICY.index("[operator]")] + POLICY[POLICY.index("[cells.eu-de]") : POLICY.index("[actors.")]
"""The stack's policy without the tables that are looked at here."""
US_S1 = 's1 = { dsn_env = "US_VA_S1", country = "US", subdivision = "US-VA" }'


def policy(text: str) -> Policy:
    return load(text).policy


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        load(text)
    return caught.value.mistakes


def instrument(**changes: str) -> str:
    """An instrument from the UK to the US, with keys changed (`from_` for `from`); values are TOML."""
    keys = {
        "from": '"uk"',
        "to": '"us"',
        "gateway": '"scc"',
        "ref": '"IDTA-2026-04"',
        "since": "2026-04-01",
        "until": "2029-03-31",
    }
    keys |= {key.rstrip("_"): value for key, value in changes.items()}
    return "\n[[instruments]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value)


def operator(**facts: str) -> str:
    return BARE + "\n[operator]\n" + "".join(f"{key} = {value}\n" for key, value in facts.items())


def test_what_the_policy_leaves_out_is_unknown_and_not_empty() -> None:
    found = policy(BARE)
    stated = found.operator
    assert (stated.country, stated.sectors, stated.recipient_classes, stated.overlays) == (None, None, None, None)
    assert stated.counts == {}
    assert (found.actors, found.instruments, found.travellers, found.terms) == ({}, (), {}, {})
    assert found.product.citizenship == "residence"
    assert policy(BARE.replace("citizenship =", "# citizenship =")).product.citizenship == "asked"


def test_the_operator_states_facts_in_the_words_of_the_pack() -> None:
    found = policy(
        operator(
            country='"AE"',
            sectors='["payments", "volume>=1000000_persons"]',
            recipient_classes='["dpf_certified"]',
            overlays='["ae-difc"]',
            counts='{ "us/biometric identifiers" = 999, "cn/special_category" = 0 }',
        )
    ).operator
    assert found.country == "AE"
    assert found.sectors == ("payments", "volume_1m")
    assert found.recipient_classes == ("dpf_certified",)
    assert found.overlays == ("ae-difc",)
    assert found.counts == {"us/biometric": 999, "cn/special_category": 0}


def test_tags_are_the_packs_own_names_once_the_policy_is_loaded() -> None:
    services = BARE.replace(
        'signup = ["/orders/sign-up"]', 'signup = ["/orders/sign-up"]\ntags = ["medical", "bank", "health"]'
    )
    found = policy(services + instrument(tags='["race", "ethnic", "personal health"]'))
    assert found.services["orders"].tags == ("health", "financial")
    assert found.instruments[0].tags == ("race", "health")


def test_an_actor_is_read_with_all_that_bounds_it() -> None:
    assert policy(POLICY).actors == {
        "support-desk": Actor(country="DE", services=("orders",), jurisdictions=("eu",), verbs=("read",))
    }
    part = policy(POLICY.replace(SUPPORT, SUPPORT + 'subdivision = "DE-BE"\n')).actors["support-desk"]
    assert part.subdivision == "DE-BE"


def test_instruments_are_read_in_the_order_of_the_text() -> None:
    found = policy(BARE + instrument(detail='"idta_or_addendum"', tags='["*"]') + instrument(gateway='"bcr"', to='"*"'))
    since, until = datetime.date(2026, 4, 1), datetime.date(2029, 3, 31)
    assert found.instruments == (
        Instrument(
            origin="uk",
            to="us",
            gateway="scc",
            ref="IDTA-2026-04",
            detail="idta_or_addendum",
            tags=("*",),
            since=since,
            until=until,
        ),
        Instrument(origin="uk", to="*", gateway="bcr", ref="IDTA-2026-04", since=since, until=until),
    )


def test_evidence_that_lifts_a_storage_rule_is_an_instrument_too() -> None:
    assert policy(BARE + instrument(from_='"rw"', to='"eu"', gateway='"approval"')).instruments[0].origin == "rw"


def test_travellers_and_terms_are_read_as_written() -> None:
    text = (
        BARE
        + '[travellers]\ndefault = "home"\nus-tx = "refuse"\n"uk->us" = "hairpin"\n[terms.bank]\ncells = ["eu-de"]\ntravellers = "refuse"\n'
    )
    found = policy(text)
    assert found.travellers == {"default": "home", "us-tx": "refuse", "uk->us": "hairpin"}
    assert found.terms == {"bank": Terms(cells=("eu-de",), travellers="refuse")}


def test_a_cell_may_keep_copies_and_stand_in_a_part_of_a_country() -> None:
    text = policy_with(("US-VA", "US-TX"), ('jurisdiction = "us"', 'jurisdiction = "us-tx"\ncopies = ["IN", "RU"]'))
    cell = policy(text).cells["us-va"]
    assert (cell.jurisdiction, cell.shards["s1"].subdivision, cell.copies) == ("us-tx", "US-TX", ("IN", "RU"))


OPERATOR_CASES = [
    ({"country": '"ZZ"'}, "operator.country: no country 'ZZ'"),
    ({"home": '"x"'}, "operator.home: unknown key"),
    ({"sectors": '["paymentz"]'}, "operator.sectors[1]: no tag 'paymentz' in the pack; did you mean payments?"),
    ({"sectors": '["*"]'}, "operator.sectors[1]: is '*'; name the kinds of data"),
    (
        {"sectors": '["payments", "medical"]'},
        "operator.sectors[2]: 'medical' is of kind special_category, a kind of data",
    ),
    ({"sectors": '["children"]'}, "operator.sectors[1]: 'children' is of kind age"),
    ({"sectors": '"payments"'}, "operator.sectors: is 'payments', but must be an array"),
    ({"sectors": "[5]"}, "operator.sectors[1]: is 5: Expected `str`"),
    (
        {"recipient_classes": '["dpf"]'},
        "operator.recipient_classes[1]: no class 'dpf' in the pack; there are appi_operator",
    ),
    ({"recipient_classes": '["dpf_certifeid"]'}, "did you mean dpf_certified?"),
    ({"overlays": '["ae-dfic"]'}, "operator.overlays[1]: no overlay 'ae-dfic' in the pack; did you mean ae-difc?"),
    ({"overlays": '["us"]'}, "operator.overlays[1]: no overlay 'us' in the pack"),
    ({"counts": "{ persons = 5 }"}, "operator.counts.persons: no threshold of the pack counts that; possible are cn/"),
    ({"counts": '{ "us/race" = 5 }'}, 'operator.counts."us/race": no threshold of the pack counts that'),
    ({"counts": '{ "us/health" = -1 }'}, 'operator.counts."us/health": is -1; a count is 0 or more'),
    (
        {"counts": '{ "us/health" = 1000000000000000000000000 }'},
        'operator.counts."us/health": is 1000000000000000000000000;',
    ),
    ({"counts": '{ "us/health" = true }'}, 'operator.counts."us/health": is True'),
    ({"counts": '{ "us/health" = 1, "us/medical" = 2 }'}, "counts.\"us/medical\": counts the same as 'us/health'"),
]


@pytest.mark.parametrize(("facts", "expected"), OPERATOR_CASES, ids=[expected[:50] for _, expected in OPERATOR_CASES])
def test_an_operator_fact_that_the_pack_has_no_word_for_is_a_mistake(facts: dict[str, str], expected: str) -> None:
    found = mistakes(operator(**facts))
    assert len(found) == 1
    assert expected in found[0]


INSTRUMENT_CASES = [
    ({"from_": '"ukk"'}, "instruments[1].from: no jurisdiction 'ukk' in the pack; did you mean uk?"),
    ({"from_": '"us"', "to": '"eu"'}, "instruments[1].from: no row of us asks for an instrument"),
    ({"from_": '"eu-fr"'}, "instruments[1].from: no row of eu-fr asks for an instrument; did you mean eu?"),
    ({"from_": '"us-dpf"'}, "instruments[1].from: no row of us-dpf asks for an instrument"),
    ({"from_": '"default"'}, "instruments[1].from: no row of default asks for an instrument"),
    (
        {"gateway": '"approval"'},
        "no row of uk asks for 'approval' as evidence; its rows ask for bcr, consent, impact_assessment, scc",
    ),
    ({"gateway": '"none"'}, "instruments[1].gateway: no row of uk asks for 'none' as evidence; its rows ask for"),
    ({"gateway": '"sccs"'}, "no row of uk asks for 'sccs' as evidence, nor does any other law; its rows ask for"),
    (
        {"detail": '"explicit"'},
        "instruments[1].detail: no row of uk asks for scc of kind 'explicit'; its rows name idta_or_addendum",
    ),
    (
        {"gateway": '"bcr"', "detail": '"approved"'},
        "no row of uk asks for bcr of kind 'approved'; its rows name no kind, so leave detail out",
    ),
    ({"to": '"uss"'}, "instruments[1].to: no jurisdiction 'uss' in the pack; did you mean us?"),
    ({"to": '"group:eu_adequate"'}, "instruments[1].to: no jurisdiction 'group:eu_adequate' in the pack"),
    (
        {"to": '"us-dpf-uk"'},
        "us-dpf-uk is of kind scheme, never a place; write its parent us; operator.recipient_classes proves",
    ),
    ({"to": '"epo"'}, "epo is of kind scheme, never a place; write *; operator.recipient_classes proves"),
    ({"to": '"ae-difc"'}, "instruments[1].to: ae-difc is of kind overlay, never a place; write its parent ae"),
    ({"to": '"uk"'}, "instruments[1].to: uk lies inside uk; nothing leaves it there"),
    (
        {"from_": '"ca"', "to": '"ca-qc"', "gateway": '"accountability"'},
        "to: ca-qc lies inside ca; nothing leaves it there",
    ),
    ({"tags": '["helth"]'}, "instruments[1].tags[1]: no tag 'helth' in the pack; did you mean health?"),
    ({"tags": '["health", "*"]'}, "instruments[1].tags[2]: is '*'"),
    ({"since": "2029-04-01"}, "instruments[1].until: is 2029-03-31, before since (2029-04-01)"),
    ({"since": '"2026-04-01"'}, "instruments[1].since: is '2026-04-01'; write the day without quotes"),
    ({"until": "2029-03-31T00:00:00Z"}, "instruments[1].until: is datetime.datetime(2029, 3, 31"),
    ({"until": ""}, "instruments[1].until: is missing"),
    ({"ref": '" "'}, "instruments[1].ref: is ' '; name the document on file"),
    ({"ref": '"a\\nb"'}, "instruments[1].ref: is 'a\\nb'"),
    ({"ref": f'"{"x" * 201}"'}, "in one line of at most 200 characters"),
    ({"form": '"uk"'}, "instruments[1].form: unknown key; did you mean from?"),
    ({"origin": '"uk"'}, "instruments[1].origin: unknown key"),
]


@pytest.mark.parametrize(("changes", "expected"), INSTRUMENT_CASES, ids=[one[:60] for _, one in INSTRUMENT_CASES])
def test_an_instrument_that_grounds_nothing_is_a_mistake(changes: dict[str, str], expected: str) -> None:
    found = mistakes(BARE + instrument(**changes))
    assert len(found) == 1, found
    assert expected in found[0]


def test_the_same_ref_for_the_same_scope_twice_is_a_mistake_and_for_another_scope_is_not() -> None:
    first = instrument(tags='["health", "race"]')
    (found,) = mistakes(
        BARE + first + instrument(to='"in"') + instrument(tags='["ethnic", "medical"]', since="2027-01-01")
    )
    assert "instruments[3]: has the ref and scope of instruments[1]" in found
    others = (
        {"to": '"in"'},
        {"gateway": '"bcr"'},
        {"ref": '"other"'},
        {"tags": '["race"]'},
        {"detail": '"idta_or_addendum"'},
    )
    assert len(policy(BARE + first + "".join(instrument(**one) for one in others)).instruments) == 6


def test_a_mistake_in_the_third_instrument_is_told_with_its_own_line() -> None:
    text = BARE + instrument() + instrument(gateway='"bcr"') + instrument(gateway='"impact_assessment"', to='"nowhere"')
    (found,) = mistakes(text)
    line = text.split("\n").index('to = "nowhere"') + 1
    assert found.startswith(f"line {line}: instruments[3].to: no jurisdiction 'nowhere'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instruments = 5\n", "instruments: is 5, but must be an array of tables: write [[instruments]]"),
        ("[instruments.a]\nx = 1\n", "but must be an array of tables: write [[instruments]]"),
        ("instruments = [5]\n", "instruments[1]: is 5, but must be a table"),
    ],
)
def test_instruments_of_another_shape_are_refused(text: str, expected: str) -> None:
    found = mistakes(text + BARE if not text.startswith("[") else BARE + text)
    assert any(expected in one for one in found), found


ACTOR_CASES = [
    ((SUPPORT, SUPPORT.replace("DE", "XX")), "actors.support-desk.country: no country 'XX'"),
    ((SUPPORT, SUPPORT + 'subdivision = "Berlin"\n'), "actors.support-desk.subdivision: is 'Berlin'; write a part"),
    ((SUPPORT, SUPPORT + 'subdivision = "US-VA"\n'), "actors.support-desk.subdivision: US-VA is no part of 'DE'"),
    (
        ('services = ["orders"]', 'services = ["order"]'),
        "actors.support-desk.services[1]: no service 'order'; did you mean orders?",
    ),
    (('services = ["orders"]', "services = []"), "actors.support-desk.services: is empty"),
    (
        ('jurisdictions = ["eu"]', 'jurisdictions = ["eu", "de"]'),
        "actors.support-desk.jurisdictions[2]: no jurisdiction 'de'",
    ),
    (('jurisdictions = ["eu"]', 'jurisdictions = ["us-dpf"]'), "us-dpf is of kind scheme"),
    (('jurisdictions = ["eu"]', "jurisdictions = []"), "actors.support-desk.jurisdictions: is empty"),
    (
        ('verbs = ["read"]\n\n[[', 'verbs = ["signup"]\n\n[['),
        "actors.support-desk.verbs: who acts for a person reads or writes",
    ),
    (('verbs = ["read"]\n\n[[', "verbs = []\n\n[["), "actors.support-desk.verbs: is empty"),
    (('verbs = ["read"]\n\n[[', 'verbs = ["delete"]\n\n[['), "actors.support-desk.verbs[1]: is 'delete'"),
    (("[actors.support-desk]", "[actors.Support]"), "actors.Support: a service id is"),
    (("[actors.support-desk]", "[actors.desk]\ncontry = 1"), "actors.desk.contry: unknown key; did you mean country?"),
]
TRAVEL_CASES = [
    (
        ('default = "hairpin"', 'defualt = "hairpin"'),
        "travellers.defualt: no cell serves 'defualt'; did you mean default?",
    ),
    (
        ('default = "hairpin"', 'default = "swim"'),
        "travellers.default: is 'swim'; must be one of hairpin, home, refuse",
    ),
    (('default = "hairpin"', "default = 5"), "travellers.default: is 5; must be one of"),
    (('uk = "home"', 'ru = "home"'), "travellers.ru: no cell serves 'ru'"),
    (('uk = "home"', 'us-dpf = "home"'), "travellers.us-dpf: no cell serves 'us-dpf'"),
    (('"eu->us"', '"eu->uss"'), "travellers.\"eu->uss\": no region 'uss'; did you mean us?"),
    (('"eu->us"', '"ru->us"'), "travellers.\"ru->us\": no cell serves 'ru'"),
    (('"eu->us"', '"eu -> us"'), "travellers.\"eu -> us\": no cell serves 'eu '; did you mean eu?"),
    (('"eu->us"', '"eu->"'), "travellers.\"eu->\": no region ''"),
    (('"eu->us"', '"default->us"'), "travellers.\"default->us\": no cell serves 'default'"),
    (('"eu->us"', '"*"'), "travellers.\"*\": no cell serves '*'"),
]
TERMS_CASES = [
    ('[terms.bank]\ncells = ["eu-dee"]\n', "terms.bank.cells[1]: no cell 'eu-dee'; did you mean eu-de?"),
    ("[terms.bank]\ncells = []\n", "terms.bank.cells: is empty"),
    ("[terms.bank]\n", "terms.bank.cells: is missing"),
    ('[terms.bank]\ncells = ["eu-de"]\ntravellers = "swim"\n', "terms.bank.travellers: is 'swim'"),
    ('[terms.bank]\ncells = ["eu-de"]\nregion = "eu"\n', "terms.bank.region: unknown key"),
    ('[terms."The Bank"]\ncells = ["eu-de"]\n', 'terms."The Bank": a terms id is'),
]
PLACE_CASES = [
    (
        ('subdivision = "US-VA"\norigin', 'subdivision = "Virginia"\norigin'),
        "regions.us.subdivision: is 'Virginia'; write a part",
    ),
    (
        ('subdivision = "US-VA"\norigin', 'subdivision = "DE-BE"\norigin'),
        "regions.us.subdivision: DE-BE is no part of 'US'",
    ),
    ((US_S1, US_S1.replace("US-VA", "us-va")), "cells.us-va.shards.s1.subdivision: is 'us-va'"),
    ((US_S1, US_S1.replace("US-VA", "DE-BE")), "cells.us-va.shards.s1.subdivision: DE-BE is no part of 'US'"),
    (
        ('jurisdiction = "us"', 'jurisdiction = "us-tx"'),
        "cells.us-va.region: region us is in US-VA, outside us-tx (US-TX)",
    ),
    (
        ('jurisdiction = "us"', 'jurisdiction = "us-tx"'),
        "cells.us-va.shards.s1.subdivision: the shard is in US-VA, outside us-tx (US-TX)",
    ),
    (
        ('jurisdiction = "eu"', 'jurisdiction = "eu-fr"'),
        "cells.eu-de.shards.s1.country: the shard is in DE, outside eu-fr (FR)",
    ),
    (
        ('jurisdiction = "eu"', 'jurisdiction = "us-tx"'),
        "cells.eu-de.shards.s1.country: the shard is in DE, outside us-tx (US-TX)",
    ),
    (('jurisdiction = "eu"', 'jurisdiction = "eu"\ncopies = ["RUS"]'), "cells.eu-de.copies[1]: no country 'RUS'"),
    (
        ('jurisdiction = "eu"', 'jurisdiction = "eu"\ncopies = ["RU", "ru"]'),
        "cells.eu-de.copies[2]: no country 'ru'; did you mean RU?",
    ),
    (('citizenship = "residence"', 'citizenship = "none"'), "product.citizenship: is 'none'"),
]
CHANGES = [
    *ACTOR_CASES,
    *TRAVEL_CASES,
    *PLACE_CASES,
    *((("[travellers]", f"{text}\n[travellers]"), one) for text, one in TERMS_CASES),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=[expected[:60] for _, expected in CHANGES])
def test_a_mistake_in_these_tables_is_named_with_its_place(change: tuple[str, str], expected: str) -> None:
    found = mistakes(policy_with(change))
    assert any(expected in one for one in found), found


def test_an_endpoint_without_its_part_is_not_shown_to_lie_inside_a_subdivision() -> None:
    text = policy_with(
        ('jurisdiction = "us"', 'jurisdiction = "us-tx"'),
        (', subdivision = "US-VA"', ""),
        ('subdivision = "US-VA"\n', ""),
    )
    found = mistakes(text)
    assert len(found) == 3
    for place in ("cells.us-va.region: region us", "s1.subdivision: the shard", "s2.subdivision: the shard"):
        assert any(f"{place} does not say in which part of US it is; us-tx is US-TX" in one for one in found), found


def test_a_country_and_its_parts_lie_inside_their_whole() -> None:
    assert policy(policy_with(('jurisdiction = "eu"', 'jurisdiction = "eu-de"'))).cells["eu-de"].jurisdiction == "eu-de"


@pytest.mark.parametrize(
    "change", [('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "ukk", "ch"]'), ('serves = ["eu", "uk", "ch"]', "")]
)
def test_a_broken_cell_is_not_told_again_where_its_jurisdictions_are_named(change: tuple[str, str]) -> None:
    (found,) = mistakes(policy_with(change))
    assert "cells.eu-de.serves" in found


def test_so_many_mistakes_are_kept_and_the_rest_is_counted() -> None:
    found = mistakes(BARE + "[travellers]\n" + "".join(f'x{n} = "home"\n' for n in range(1000)))
    assert len(found) == 201
    assert found[-1] == "and 800 or more further mistakes"


def test_very_many_services_with_mistakes_end_the_comparing() -> None:
    services = "".join(f'[services.s{n}]\npurpose = "x"\n[services.s{n}.hosts]\nq = ["a:1"]\n' for n in range(300))
    found = mistakes(BARE + services)
    assert len(found) <= 201
    assert "services.s0.hosts: names no hosts for cell eu-de" in found[0]


@pytest.mark.parametrize("purpose", ["sael", "sales", "resale"])
def test_a_purpose_that_is_nearly_a_prohibited_one_is_a_mistake(purpose: str) -> None:
    (found,) = mistakes(
        policy_with(
            (
                'jobs = { verbs = ["read"], purpose = "service" }',
                f'jobs = {{ verbs = ["read"], purpose = "{purpose}" }}',
            )
        )
    )
    assert f"services.orders.jobs.purpose: is '{purpose}'; write sale" in found


@pytest.mark.parametrize("purpose", ["sale", "service", "salary", "analytics"])
def test_other_purposes_are_the_operators_own(purpose: str) -> None:
    load(
        policy_with(
            (
                'jobs = { verbs = ["read"], purpose = "service" }',
                f'jobs = {{ verbs = ["read"], purpose = "{purpose}" }}',
            )
        )
    )
