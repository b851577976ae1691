"""Loading a policy: the stack's own is sound; each mistake is named with its place, and all of them at once."""

import pytest

from routing_rules.hints import nearest, shown
from routing_rules.policy import POLICY_BYTES_MAX
from routing_rules.rules import PolicyError, load
from tests.stands.rules import POLICY, policy_with, rules, small_pack


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        load(text)
    return caught.value.mistakes


def test_the_policy_of_the_embedded_stack_is_sound() -> None:
    policy = rules().policy
    assert set(policy.cells) == {"eu-de", "us-va", "in-mum"}
    assert policy.cells["eu-de"].serves == ("eu", "uk", "ch")
    assert policy.cells["us-va"].shards["s2"].dsn_env == "US_VA_S2"
    assert policy.regions["in"].country == "IN"
    assert policy.services["orders"].signup == ("/orders/sign-up",)
    assert policy.services["orders"].jobs is not None
    assert policy.product.decision_s == 15


def test_what_product_leaves_out_has_the_documented_defaults() -> None:
    product = load(POLICY[: POLICY.index("[product]")] + POLICY[POLICY.index("[regions.eu]") :]).policy.product
    assert (product.placement_key, product.profile, product.stale_s_max, product.decision_s) == (
        "iss+sub",
        "cautious",
        600,
        15,
    )


S1 = 's1 = { dsn_env = "EU_DE_S1", country = "DE" }'
EU_ORIGIN = 'origin = "http://127.0.0.1:7100"'
ORDERS_EU = 'eu-de = ["127.0.0.1:7000"]'
RECORDS_EU = 'eu-de = ["127.0.0.1:7010"]'

CASES = [
    # shape
    (("profile =", "profil ="), "product.profil: unknown key; did you mean profile?"),
    (('profile = "cautious"', 'profile = "bold"'), "product.profile: is 'bold'"),
    (("[directory]", "[directori]"), "directori: unknown key; did you mean directory?"),
    (('[directory]\ncountry = "DE"', ""), "directory.country: is missing"),
    (('[directory]\ncountry = "DE"', "[directory]"), "directory.country: is missing"),
    (('region = "eu"\n', ""), "cells.eu-de.region: is missing"),
    ((S1, 's1 = { dsn_env = "EU_DE_S1", country = "DE", size = 1 }'), "cells.eu-de.shards.s1.size: unknown key"),
    ((S1, "s1 = 5"), "cells.eu-de.shards.s1: is 5, but must be a table"),
    ((EU_ORIGIN, "origin = 5"), "regions.eu.origin: is 5"),
    (
        ('jobs = { verbs = ["read"], purpose = "service" }', 'jobs = { verbs = ["peek"], purpose = "service" }'),
        "jobs.verbs",
    ),
    # names
    (('region = "eu"\n', 'region = "eur"\n'), "cells.eu-de.region: no region 'eur'; did you mean eu?"),
    (
        ('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "ukk"]'),
        "cells.eu-de.serves[2]: no jurisdiction 'ukk' in the pack; did you mean uk?",
    ),
    (('serves = ["eu", "uk", "ch"]', "serves = []"), "cells.eu-de.serves: is empty"),
    (('serves = ["eu", "uk", "ch"]', 'serves = ["eu", "default"]'), "of default the pack knows nothing"),
    (('serves = ["eu", "uk", "ch"]', 'serves = ["ir"]'), "of ir the pack knows nothing"),
    (('serves = ["us"]', 'serves = ["us", "us-dpf"]'), "us-dpf is of kind scheme"),
    (('serves = ["us"]', 'serves = ["us", "ae-difc"]'), "ae-difc is of kind overlay"),
    (
        ('jurisdiction = "eu"', 'jurisdiction = "europe"'),
        "cells.eu-de.jurisdiction: no jurisdiction 'europe' in the pack",
    ),
    (
        ('jurisdiction = "us"', 'jurisdiction = "us-ca"'),
        "cells.us-va.region: region us is in US-VA, outside us-ca (US-CA)",
    ),
    (("[regions.in]", "[regions.IN]"), "regions.IN: a region id is"),
    (("[services.orders]", "[services.metrics]"), "services.metrics: /metrics is the gateway's own path"),
    # endpoints
    ((S1, S1.replace('"DE"', '"US"')), "cells.eu-de.shards.s1.country: the shard is in US, outside eu"),
    ((S1, S1.replace('"DE"', '"D"')), "cells.eu-de.shards.s1.country: no country 'D'"),
    (('country = "IN"\norigin', 'country = "US"\norigin'), "cells.in-mum.region: region in is in US, outside in (IN)"),
    (('country = "IN"\norigin', 'country = "in"\norigin'), "regions.in.country: no country 'in'; did you mean IN?"),
    (('[directory]\ncountry = "DE"', '[directory]\ncountry = "XX"'), "directory.country: no country 'XX'"),
    ((EU_ORIGIN, 'origin = "eu.example.com"'), "regions.eu.origin: is 'eu.example.com'"),
    ((EU_ORIGIN, 'origin = "ftp://eu.example.com"'), "regions.eu.origin"),
    (
        (EU_ORIGIN, 'origin = "https://eu.example.com/"'),
        "regions.eu.origin: is 'https://eu.example.com/'; must end after host and port",
    ),
    ((EU_ORIGIN, 'origin = "https://me@eu.example.com"'), "regions.eu.origin"),
    ((EU_ORIGIN, 'origin = "https://eu.example.com:99999"'), "regions.eu.origin"),
    ((EU_ORIGIN, 'origin = "https://[::1"'), "regions.eu.origin"),
    ((EU_ORIGIN, 'origin = "https://eu.example.com:0"'), "regions.eu.origin"),
    ((EU_ORIGIN, 'origin = "http://127.0.0.1:7101"'), "regions.us.origin: is the origin of regions.eu too"),
    # databases
    (("EU_DE_S2", "EU_DE_S1"), "EU_DE_S1 belongs to cells.eu-de.shards.s1 already"),
    (("IN_MUM_S1", "US_VA_S1"), "US_VA_S1 belongs to cells.us-va.shards.s1 already"),
    (("EU_DE_S2", "postgres://x"), "must be the name of an environment variable"),
    # weights and bounds
    ((S1, S1.replace(" }", ", weight = 0 }")), "cells.eu-de.shards.s1.weight: is 0"),
    ((S1, S1.replace(" }", ", weight = -1 }")), "cells.eu-de.shards.s1.weight: is -1"),
    ((S1, S1.replace(" }", ", weight = nan }")), "cells.eu-de.shards.s1.weight: is nan"),
    (('jurisdiction = "eu"', 'jurisdiction = "eu"\nweight = inf'), "cells.eu-de.weight: is inf"),
    (("decision_s = 15", "decision_s = 31"), "product.decision_s: is 31; must be above 0 and at most 30"),
    (("decision_s = 15", "decision_s = 0"), "product.decision_s: is 0"),
    (("stale_s_max = 600", "stale_s_max = 1e9"), "product.stale_s_max: is 1e+09"),
    (("stale_s_max = 600", "stale_s_max = 4"), "product.stale_s_max: is 4; must be at least 5"),
    (('placement_key = "iss+sub"', 'placement_key = "claim:tenant"'), "this release places by iss+sub only"),
    # routes
    (('"/orders/health"', '"/health"'), "services.orders.anonymous[1]: '/health' must start with /orders/"),
    (('"/orders/health"', '"/orders-2/health"'), "must start with /orders/"),
    (
        ('"/orders/sign-up"', '"/orders/../records/x"'),
        "services.orders.signup[1]: '/orders/../records/x' must be a plain path",
    ),
    (('"/orders/sign-up"', '"/orders/sign-up?x=1"'), "must be a plain path"),
    (('"/orders/sign-up"', '"/orders//sign-up"'), "must be a plain path"),
    (('"/orders/sign-up"', '"/orders/%2e%2e"'), "must be a plain path"),
    (('"/orders/sign-up"', '"/orders/health"'), "'/orders/health' is anonymous too"),
    # hosts
    ((ORDERS_EU, 'eu-de = ["127.0.0.1"]'), "services.orders.hosts.eu-de[1]: '127.0.0.1' must be host:port"),
    ((ORDERS_EU, 'eu-de = ["127.0.0.1:0"]'), "must be host:port"),
    ((ORDERS_EU, 'eu-de = ["127.0.0.1:65536"]'), "must be host:port"),
    ((ORDERS_EU, 'eu-de = ["http://a:80"]'), "must be host:port"),
    ((ORDERS_EU, 'eu-de = ["a:80", "a:80"]'), "names one address twice"),
    ((ORDERS_EU, 'eu-dee = ["a:80"]'), "services.orders.hosts.eu-dee: no cell 'eu-dee'; did you mean eu-de?"),
    ((ORDERS_EU, ""), "services.orders.hosts: names no hosts for cell eu-de"),
    ((RECORDS_EU, "eu-de = []"), "services.records.hosts.eu-de: is empty"),
    (("[services.records", "[services.record"), "services.records: is missing"),
    (('jobs = { verbs = ["read"]', 'jobs = { verbs = ["signup"]'), "a job reads or writes"),
    (('purpose = "service"\nanonymous', 'purpose = "All of it"\nanonymous'), "services.orders.purpose: is 'All of it'"),
    (
        ('purpose = "service"\nanonymous', 'purpose = "service"\ntags = ["Health!"]\nanonymous'),
        "services.orders.tags[1]: no tag 'Health!' in the pack; did you mean health?",
    ),
]


@pytest.mark.parametrize(("change", "expected"), CASES, ids=[expected[:60] for _, expected in CASES])
def test_a_mistake_is_named_with_its_place(change: tuple[str, str], expected: str) -> None:
    found = mistakes(policy_with(change))
    assert any(expected in mistake for mistake in found), found


def test_a_cell_without_shards_is_a_mistake() -> None:
    start, end = POLICY.index("[cells.eu-de.shards]"), POLICY.index("[cells.us-va]")
    assert any("cells.eu-de.shards: is missing" in one for one in mistakes(POLICY[:start] + POLICY[end:]))
    empty = POLICY[:start] + "[cells.eu-de.shards]\n" + POLICY[end:]
    assert any("cells.eu-de.shards: is empty; a cell has at least one shard" in one for one in mistakes(empty))


def test_a_service_that_runs_nowhere_is_a_mistake() -> None:
    text = policy_with(
        (ORDERS_EU, "eu-de = []"),
        ('us-va = ["127.0.0.1:7001"]', "us-va = []"),
        ('in-mum = ["127.0.0.1:7002"]', "in-mum = []"),
    )
    assert mistakes(text)[0].endswith("services.orders.hosts: the service runs in no cell")


def test_a_service_may_say_that_it_does_not_run_in_a_cell() -> None:
    assert load(policy_with((ORDERS_EU, "eu-de = []"))).policy.services["orders"].hosts["eu-de"] == ()


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_text() -> None:
    found = mistakes(
        policy_with(
            ("decision_s = 15", "decision_s = 31"),
            (EU_ORIGIN, "origin = 5"),
            ('region = "us"', 'region = "uss"'),
            ("IN_MUM_S2", "IN_MUM_S1"),
            ('"/orders/health"', '"/health"'),
            (ORDERS_EU, 'eu-de = ["nowhere"]'),
        )
    )
    places = (
        "product.decision_s",
        "regions.eu.origin",
        "cells.us-va.region",
        "cells.in-mum.shards.s2",
        "anonymous",
        "hosts.eu-de",
    )
    assert len(found) == len(places), found
    assert all(place in one for place, one in zip(places, found, strict=True)), found


def test_a_broken_entry_is_not_reported_again_where_it_is_named() -> None:
    found = mistakes(policy_with(('[regions.us]                         # Virginia\ncountry = "US"', "[regions.us]")))
    assert [one.split(": ", 1)[1] for one in found] == ["regions.us.country: is missing"]


def test_a_mistake_carries_the_line_where_it_stands() -> None:
    text = policy_with(("decision_s = 15", "decision_s = 99"))
    line = text.splitlines().index("decision_s = 99") + 1
    assert mistakes(text) == (f"line {line}: product.decision_s: is 99; must be above 0 and at most 30",)


@pytest.mark.parametrize("text", ["a = ", "[product\n", "\ud800", "a = 1\na = 2"])
def test_text_that_is_no_toml_is_one_mistake(text: str) -> None:
    assert len(mistakes(text)) == 1


@pytest.mark.parametrize(
    "text",
    ["a." * 64 + "a = 1", "['b' . " + '"c" . ' * 64 + "d]", "x = { " + "a . " * 64 + "a = 1}"],
)
def test_a_key_of_very_many_parts_is_refused_before_it_is_parsed(text: str) -> None:
    assert mistakes(text) == ("a key of the policy has more than 64 parts",)


def test_a_long_key_of_few_parts_is_an_unknown_key_like_any_other() -> None:
    assert any("unknown key" in one for one in mistakes(f"{'a' * 100_000}.b = 1\n{POLICY}"))


def test_an_oversized_policy_is_refused_before_it_is_parsed() -> None:
    assert "larger than" in mistakes("#" * (POLICY_BYTES_MAX + 1))[0]


@pytest.mark.parametrize(
    "text",
    ["", "regions = 5", "cells = []", "services = 'x'\nproduct = 1", "instruments = 1\nterms = 2\ntravellers = 3"],
)
def test_a_policy_of_another_shape_is_refused_without_a_crash(text: str) -> None:
    assert len(mistakes(text)) >= 3


def test_jurisdictions_are_those_of_the_pack_that_is_given() -> None:
    assert load(POLICY, small_pack()).policy == rules().policy
    with pytest.raises(PolicyError, match="of uk the pack knows nothing"):
        load(POLICY, small_pack({"id": "uk", "kind": "default", "countries": "GB"}))


def test_the_same_text_and_pack_have_the_same_digest_and_another_pack_another() -> None:
    assert rules().digest == rules().digest
    assert load(POLICY, small_pack()).digest != rules().digest
    assert load(POLICY + "\n").digest != rules().digest
    assert load(f" {POLICY}").digest != rules().digest
    assert rules().digest.startswith("sha256:")
    assert len(rules().digest) == 71


def test_the_nearest_name_is_offered_or_the_names_there_are() -> None:
    assert nearest("eu-dd", ["eu-de", "us-va"]) == "; did you mean eu-de?"
    assert nearest("zzz", ["eu-de", "us-va"]) == "; there are eu-de, us-va"
    assert nearest("zzz", []) == "; none is declared"
    assert nearest("zzz", [f"a{n}" for n in range(20)]).endswith("and others")


def test_shown_values_are_bounded() -> None:
    assert len(shown("x" * 10_000)) == 60
