"""Reading the facts is total: whatever stands in a file, it is a pack or a PackError that names the file."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing_rules.pack import FILES, PackError, bundled_texts, parse
from routing_rules.pack.check import mistakes

SMALL = {file: "".join(text.splitlines(keepends=True)[:4]) for file, text in bundled_texts().items()}
"""The first rows of every file: enough to damage."""

letters = st.text(alphabet="abcZ019,;:=\"'\n\r\0 -*|/\ud800é", max_size=8)


@settings(max_examples=400)
@given(st.data(), st.sampled_from(FILES), letters)
def test_damaged_text_is_a_pack_or_refused_by_the_name_of_its_file(data: st.DataObject, file: str, middle: str) -> None:
    text = SMALL[file]
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 60)))
    try:
        found = parse(SMALL | {file: text[:start] + middle + text[stop:]})
    except PackError as exc:
        assert str(exc).startswith((f"{file}: ", "a file of the pack is not Unicode text"))  # noqa: PT017
        return
    assert all(mistakes(found))


@settings(max_examples=200)
@given(st.sampled_from(FILES), st.text(max_size=300))
@example("edges.csv", "\ufeff")
def test_any_text_at_all_is_refused_or_read(file: str, text: str) -> None:
    try:
        parse(SMALL | {file: text})
    except PackError as exc:
        assert str(exc).startswith((f"{file}: ", "a file of the pack is not Unicode text"))  # noqa: PT017
