"""Policy's key for browsers: the session cookie is one that no other host can set."""

import pytest

from routing_rules.rules import PolicyError, load
from tests.stands.rules import POLICY


def with_cookie(name: str) -> str:
    return POLICY.replace("[product]\n", f'[product]\nsession_cookie = "{name}"\n')


def test_a_policy_may_name_a_host_cookie_and_names_none_by_default() -> None:
    assert load(with_cookie("__Host-session")).policy.product.session_cookie == "__Host-session"
    assert load(POLICY).policy.product.session_cookie is None


@pytest.mark.parametrize(
    "name", ["session", "__Secure-session", "__host-session", "__Host-", "__Host-a b", "__Host-a;b"]
)
def test_any_other_cookie_is_a_mistake(name: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(with_cookie(name))
    assert "product.session_cookie" in caught.value.mistakes[0]
