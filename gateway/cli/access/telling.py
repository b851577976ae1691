"""How grants are printed. Pure but for the printing."""

from collections.abc import Iterable
from typing import Any

import click

from gateway.cli.options import print_json, print_table, utc

_US = 1_000_000


def tell(told: dict[str, Any], *, as_json: bool) -> None:
    """One grant."""
    if as_json:
        print_json(told)
        return
    click.echo(line(told))
    for vote in told["grant"]["votes"]:
        click.echo(
            f"  approved by {vote['by']} at {utc(vote['at_us'] / _US)} UTC{'' if vote['inside'] else ', outside'}"
        )
    end, review = told["grant"]["end"], told["grant"]["review"]
    if end is not None:
        click.echo(f"  {end['phase']} by {end['by']} at {utc(end['at_us'] / _US)} UTC: {end['reason']}")
    if review is not None:
        click.echo(f"  review by {review['by']}: {review['verdict']}, {review['note']}")


def line(told: dict[str, Any]) -> str:
    """A grant in one line."""
    grant, terms = told["grant"], told["grant"]["terms"]
    kind = "emergency" if grant["on_call"] else f"{len(grant['votes'])} of {grant['needed']} approvals"
    until = f", until {utc(grant['until_us'] / _US)} UTC" if grant["until_us"] else ""
    many = f"{len(terms['subjects'])} subject{'' if len(terms['subjects']) == 1 else 's'}"
    return (
        f"{grant['id']} {told['phase']} (version {grant['version']}, {kind}){until}: {grant['engineer']}, {terms['purpose']}, "
        f"{terms['ticket']}, {many}, {terms['minutes']} min"
    )


def table(grants: Iterable[dict[str, Any]]) -> None:
    rows = [
        (
            one["grant"]["id"],
            one["phase"],
            one["grant"]["engineer"],
            one["grant"]["terms"]["purpose"],
            one["grant"]["terms"]["ticket"],
            f"{len(one['grant']['votes'])}/{one['grant']['needed']}",
            utc(one["grant"]["requested_at_us"] / _US),
            "overdue" if one["review_overdue"] else "emergency" if one["grant"]["on_call"] else "",
        )
        for one in grants
    ]
    print_table(("grant", "phase", "engineer", "purpose", "ticket", "approvals", "asked at (UTC)", ""), rows)
