"""An import's processor time by fifths: every subject and every second is told once."""

from itertools import pairwise

from load_tests.bench._grown import Look, fifths, spent, table


def look(at: int, placed: int, **cpu_s: float) -> Look:
    return Look(at_s=float(at), placed=placed, wal_bytes=100 * placed, checkpoints=at // 4, cpu_s=cpu_s)


LOOKS = [look(at, placed, one=at * 1.0) for at, placed in enumerate((0, 10, 35, 35, 60, 80, 90, 100))] + [
    look(9, 100, one=9.0, late=2.0)
]


def test_fifths_follow_each_other_and_leave_nothing_out() -> None:
    found = fifths(LOOKS)
    assert (found[0][0], found[-1][1]) == (LOOKS[0], LOOKS[-1])
    assert all(end == start for (_, end), (start, _) in pairwise(found))
    assert [end.placed for _, end in found] == [35, 60, 60, 80, 100]


def test_who_came_in_between_began_at_nothing() -> None:
    assert spent(LOOKS) == {"one": 9.0, "late": 2.0}


def test_what_the_table_tells_is_a_subjects_share() -> None:
    header, _, first, *_, last = table(LOOKS).splitlines()
    assert header.count("|") == first.count("|") == last.count("|")
    told = [cell.strip() for cell in last.strip("|").split("|")]
    assert (told[0], told[-3:]) == ("100", ["300000.0", "100", "1"])
