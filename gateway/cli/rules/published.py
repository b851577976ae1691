"""`domicile rules apply`, `history`, `rollback`, `show`: the rules that hold, through the directory."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from foundation.clock import SystemClock
from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json, print_table
from gateway.cli.reach import Reach, Remote, reach_option
from gateway.cli.rules.diff import digest_of, print_changes, refuse_unless_historical
from gateway.cli.rules.following import followed, told, watched
from gateway.cli.rules.reading import at_option, day_of, rules_of, text_of
from routing_rules.compare import Change, differences, rewritten
from routing_rules.explain import NOT_LEGAL_ADVICE
from routing_rules.rules import PolicyError, Rules, load

HISTORY_SHOWN = 20

reason_option = click.option("--reason", default="by hand", show_default=True, help="Why; it is kept in the history.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to hold instead of what; `changes` None: the rules that hold cannot be read by this release."""

    before: str | None
    before_seq: int | None
    after: Rules
    day: datetime.date
    changes: tuple[Change, ...] | None
    keys: tuple[str, ...]


@click.command(short_help="Make the policy in FILE hold, everywhere.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@reach_option
@at_option
@reason_option
@yes_option
@json_option
def apply(file: Path, reach: Reach, at: datetime.datetime | None, reason: str, yes: bool, as_json: bool) -> None:
    """Make the policy in FILE hold: check it, show what changes, ask, publish, wait for every gateway."""
    text = text_of(file)
    after = rules_of(text, str(file))
    directory = Directory(reach)
    plan = _planned(after, directory, day_of(at))

    def publish() -> Any:
        return directory.post("/rules", {"policy": text, "reason": reason}, headers=_compared(plan))

    _carry_out(plan, publish, reach, yes=yes, as_json=as_json)


@click.command(short_help="Make earlier rules hold again.")
@click.argument("target", required=False)
@click.option("--previous", is_flag=True, help="Back to what held before.")
@reach_option
@at_option
@reason_option
@yes_option
@json_option
def rollback(
    target: str | None,
    previous: bool,
    reach: Reach,
    at: datetime.datetime | None,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Make earlier rules hold again: TARGET is sha256:… or @SEQ of `domicile rules history`, or --previous."""
    if (target is None) != previous:
        raise click.UsageError("name a digest or @SEQ, or --previous")
    if target is not None:
        refuse_unless_historical(target)
    directory = Directory(reach)
    digest = _before_this(directory) if target is None else digest_of(target, directory)
    earlier = directory.get(f"/rules/{digest}")
    plan = _planned(rules_of(earlier["policy"], digest), directory, day_of(at))

    def publish() -> Any:
        asked = {"digest": digest, "reason": reason}
        return directory.post("/rules/rollback", asked, headers=_compared(plan))["document"]

    _carry_out(plan, publish, reach, yes=yes, as_json=as_json)


@click.command()
@click.option("--limit", type=click.IntRange(1, 100), default=HISTORY_SHOWN, show_default=True, help="Entries at most.")
@reach_option
@json_option
def history(limit: int, reach: Reach, as_json: bool) -> None:
    """List which rules held since when, newest first."""
    page = Directory(reach).get("/rules/history", limit=limit)
    if as_json:
        print_json(page)
        return
    rows = [
        (f"@{one['seq']}", _moment(one["published_at"]), one["digest"], one["actor"], one["reason"], one["bytes"])
        for one in page["entries"]
    ]
    print_table(("event", "published", "digest", "by", "why", "bytes"), rows)
    if page["next"] is not None:
        click.echo("older ones are left out; --limit shows up to 100")


@click.command(short_help="Print the policy that holds, or an earlier one.")
@click.argument("target", required=False)
@reach_option
@json_option
def show(target: str | None, reach: Reach, as_json: bool) -> None:
    """Print the policy that holds, or that of TARGET (sha256:… or @SEQ)."""
    if target is not None:
        refuse_unless_historical(target)
    directory = Directory(reach)
    document = directory.get("/rules/current" if target is None else f"/rules/{digest_of(target, directory)}")
    if as_json:
        print_json(document)
        return
    click.echo(f"# {document['digest']}", err=True)
    click.echo(f"# @{document['seq']}, {_moment(document['published_at'])}, by {document['actor']}", err=True)
    click.echo(document["policy"], nl=False)


def _planned(after: Rules, directory: Directory, day: datetime.date) -> _Plan:
    entries = directory.get("/rules/history", limit=1)["entries"]
    if not entries:
        return _Plan(before=None, before_seq=None, after=after, day=day, changes=None, keys=())
    document = directory.get("/rules/current")
    plan = _Plan(before=document["digest"], before_seq=document["seq"], after=after, day=day, changes=None, keys=())
    try:
        held = load(document["policy"])
    except PolicyError:
        return plan
    return msgspec.structs.replace(plan, changes=differences(held, after, day), keys=rewritten(held, after))


def _compared(plan: _Plan) -> dict[str, str]:
    """Published only over what was compared with."""
    return {} if plan.before is None else {"if-match": f'"{plan.before}"'}


def _carry_out(plan: _Plan, publish: Callable[[], Any], reach: Reach, *, yes: bool, as_json: bool) -> None:
    if plan.before == plan.after.digest:
        _say(as_json, f"these rules hold already: {plan.before}")
        if as_json:
            print_json({"digest": plan.before, "before": plan.before, "changes": (), "rewritten": (), "gateways": ()})
        return
    if not as_json:
        _print_plan(plan)
    if not yes:
        _ask(reach, as_json=as_json)
    watching = watched(reach, plan.after)
    started = SystemClock().monotonic_s()
    published = publish()
    if not as_json:
        _print_published(published, plan)
    gateways = []
    for one in followed(watching, published["seq"], started):
        _say(as_json, f"  {told(one)}")
        gateways.append(one)
    if as_json:
        whole = {"digest": published["digest"], "seq": published["seq"], "before": plan.before}
        changes = {"changes": plan.changes, "rewritten": plan.keys}
        print_json({**whole, **changes, "gateways": gateways, "notice": NOT_LEGAL_ADVICE})
    if any(one.ms is None and one.unchecked is None for one in gateways):
        raise click.ClickException(
            "a gateway that does not follow serves by the earlier rules until stale_s_max and then refuses"
        )


def _ask(reach: Reach, *, as_json: bool) -> None:
    """Raises UsageError where nothing may be asked, ClickException for a no, an end of input or Ctrl-C."""
    if as_json:
        raise click.UsageError("--json asks nothing: add --yes")
    where = f" to {reach.host}" if isinstance(reach, Remote) else ""
    try:
        agreed = click.confirm(f"Publish{where}?")
    except click.Abort:
        click.echo()
        agreed = False
    if not agreed:
        raise click.ClickException("nothing was published; what held holds")


def _print_published(published: dict[str, Any], plan: _Plan) -> None:
    click.echo(f"published as @{published['seq']}: {published['digest']}")
    if published["digest"] != plan.after.digest:
        click.echo("the directory's release has another pack of laws: it decides otherwise than shown")
    if plan.before_seq is not None:
        click.echo(f"taken back by: domicile rules rollback @{plan.before_seq}")


def _print_plan(plan: _Plan) -> None:
    if plan.before is None:
        click.echo("No rules were published yet: these are the first.")
    elif plan.changes is None:
        click.echo("What holds was published with another release's pack: this release cannot compare with it.")
    else:
        print_changes(plan.changes, plan.keys, plan.day)


def _before_this(directory: Directory) -> str:
    entries = directory.get("/rules/history", limit=100)["entries"]
    earlier = [one["digest"] for one in entries if one["digest"] != entries[0]["digest"]]
    if not earlier:
        raise click.ClickException("no other rules held before; see `domicile rules history`")
    return str(earlier[0])


def _say(as_json: bool, line: str) -> None:
    if not as_json:
        click.echo(line)


def _moment(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
