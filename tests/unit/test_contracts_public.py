"""What a contract shows to others: said rightly, and told when it widens."""

import pytest

from cells.egress.viewing import fits, shown, statement
from cells.records.contracts import Contract, parse
from cells.schema.compare import Way, differences
from foundation.settings import SettingsError
from foundation.words import Epoch

TEXT = """
table: profiles
placed_by: subject_id
owner: subject_id
public: [name, born]
columns:
  subject_id: {type: uuid, class: pseudonymous}
  tenant:     {type: uuid, class: pseudonymous}
  id:         {type: uuid, class: none}
  name:       {type: text, class: direct, leaving: {default: initials}}
  born:       {type: date, class: quasi, leaving: {default: age_band}}
  mail:       {type: text, class: direct, leaving: {default: keep}}
  card:       {type: text, class: direct, sealed: true}
  still:      {type: text, class: none}
  shadow:     {type: text}
"""


def contract(text: str = TEXT) -> Contract:
    return parse(text, where="profiles.yaml")


def test_only_public_columns_are_read_and_are_in_the_contract_of_what_is_shown() -> None:
    stated = contract()
    assert tuple(shown(stated).columns) == ("name", "born")
    sql = statement(stated)
    assert 't."name", t."born" FROM' in sql
    assert "mail" not in sql


def test_a_row_counts_only_under_the_decided_epoch_of_an_active_home_that_is_not_being_cut() -> None:
    assert fits((7, "active", False, True), Epoch(7))
    for other in ((8, "active", False, True), (7, "frozen", False, True), (7, "active", True, True)):
        assert not fits(other, Epoch(7))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[name, born]", "[name, borne]", "public: 'borne' is no classified"),
        ("[name, born]", "[card]", "public: 'card' is no classified, unsealed column"),
        ("[name, born]", "[shadow]", "public: 'shadow' is no classified"),
        ("[name, born]", "[still]", "of column still nothing is stated"),
        ("owner: subject_id", "owner: tenant", "public: rows are shown of whoever is placed"),
    ],
)
def test_what_cannot_be_shown_is_a_mistake_by_name(old: str, new: str, says: str) -> None:
    with pytest.raises(SettingsError) as told:
        contract(TEXT.replace(old, new))
    assert says in str(told.value)


def test_a_column_that_anybody_may_read_now_widens() -> None:
    old, new = contract(TEXT.replace("[name, born]", "[name]")), contract()
    (found,) = differences({"profiles": old}, {"profiles": new})
    assert (found.way, found.column) == (Way.WIDENS, "born")
    assert found.what == "anybody may read, as it leaves, for views"
    (narrowed,) = differences({"profiles": new}, {"profiles": old})
    assert narrowed.way is Way.NARROWS
