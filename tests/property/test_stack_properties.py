"""Properties of what the stack writes: any path survives its file."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.render import toml

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(_text)
def test_any_text_comes_back_from_a_settings_file(text: str) -> None:
    assert tomllib.loads(toml({"a": text, "b": [{"c": text}]})) == {"a": text, "b": [{"c": text}]}
