"""`domicile rules apply`, `history`, `rollback`, `show`: the rules of a running stack, through its directory."""

import datetime
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec

from foundation.clock import SystemClock
from gateway.cli.client import CALL_S_MAX, Directory, addresses
from gateway.cli.options import json_option, print_json, print_table, state_option
from gateway.cli.rules.diff import digest_at, print_changes
from gateway.cli.rules.reading import at_option, day_of, rules_of, text_of
from routing_rules.compare import Change, differences, rewritten
from routing_rules.explain import NOT_LEGAL_ADVICE
from routing_rules.rules import PolicyError, Rules, load

FOLLOW_S_MAX = 5.0
POLL_S = 0.01
HISTORY_SHOWN = 20
_GAUGE = "domicile_gateway_rules_seq"

reason_option = click.option("--reason", default="by hand", show_default=True, help="Why; it is kept in the history.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """`ms` from before the publishing until the gateway of `region` held the rules; None: not within FOLLOW_S_MAX."""

    region: str
    ms: float | None


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to hold instead of what; `changes` None: the rules that hold cannot be read by this release."""

    before: str | None
    after: Rules
    day: datetime.date
    changes: tuple[Change, ...] | None
    keys: tuple[str, ...]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@state_option
@at_option
@reason_option
@yes_option
@json_option
def apply(file: Path, state: Path, at: datetime.datetime | None, reason: str, yes: bool, as_json: bool) -> None:
    """Make the policy in FILE hold: check it, show what changes, ask, publish, wait for every gateway."""
    text = text_of(file)
    after = rules_of(text, str(file))
    directory = Directory(state)
    plan = _planned(after, directory, day_of(at))

    def publish() -> Any:
        return directory.post("/rules", {"policy": text, "reason": reason}, headers=_compared(plan))

    _carry_out(plan, publish, state, yes=yes, as_json=as_json)


@click.command()
@click.argument("target", required=False)
@click.option("--previous", is_flag=True, help="Back to what held before.")
@state_option
@at_option
@reason_option
@yes_option
@json_option
def rollback(
    target: str | None,
    previous: bool,
    state: Path,
    at: datetime.datetime | None,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Make earlier rules hold again: TARGET is sha256:… or @SEQ of `domicile rules history`, or --previous."""
    if (target is None) != previous:
        raise click.UsageError("name a digest or @SEQ, or --previous")
    directory = Directory(state)
    digest = _before_this(directory) if target is None else _digest(target, directory)
    earlier = directory.get(f"/rules/{digest}")
    plan = _planned(rules_of(earlier["policy"], digest), directory, day_of(at))

    def publish() -> Any:
        asked = {"digest": digest, "reason": reason}
        return directory.post("/rules/rollback", asked, headers=_compared(plan))["document"]

    _carry_out(plan, publish, state, yes=yes, as_json=as_json)


@click.command()
@click.option("--limit", type=click.IntRange(1, 100), default=HISTORY_SHOWN, show_default=True, help="Entries at most.")
@state_option
@json_option
def history(limit: int, state: Path, as_json: bool) -> None:
    """List which rules held since when, newest first."""
    page = Directory(state).get("/rules/history", limit=limit)
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


@click.command()
@click.argument("target", required=False)
@state_option
@json_option
def show(target: str | None, state: Path, as_json: bool) -> None:
    """Print the policy that holds, or that of TARGET (sha256:… or @SEQ)."""
    directory = Directory(state)
    document = directory.get("/rules/current" if target is None else f"/rules/{_digest(target, directory)}")
    if as_json:
        print_json(document)
        return
    click.echo(f"# {document['digest']}", err=True)
    click.echo(f"# @{document['seq']}, {_moment(document['published_at'])}, by {document['actor']}", err=True)
    click.echo(document["policy"], nl=False)


def _planned(after: Rules, directory: Directory, day: datetime.date) -> _Plan:
    page = directory.get("/rules/history", limit=1)
    if not page["entries"]:
        return _Plan(before=None, after=after, day=day, changes=None, keys=())
    document = directory.get("/rules/current")
    try:
        held = load(document["policy"])
    except PolicyError:
        return _Plan(before=document["digest"], after=after, day=day, changes=None, keys=())
    changes = differences(held, after, day)
    return _Plan(before=document["digest"], after=after, day=day, changes=changes, keys=rewritten(held, after))


def _compared(plan: _Plan) -> dict[str, str]:
    """Published only over what was compared with."""
    return {} if plan.before is None else {"if-match": f'"{plan.before}"'}


def _carry_out(plan: _Plan, publish: Callable[[], Any], state: Path, *, yes: bool, as_json: bool) -> None:
    if plan.before == plan.after.digest:
        _say(as_json, f"these rules hold already: {plan.before}")
        if as_json:
            print_json({"digest": plan.before, "before": plan.before, "changes": (), "rewritten": (), "gateways": ()})
        return
    if not as_json:
        _print_plan(plan)
    if not yes:
        if as_json:
            raise click.UsageError("--json asks nothing: add --yes")
        click.confirm("Publish?", abort=True)
    clock = SystemClock()
    started = clock.monotonic_s()
    published = publish()
    if published["digest"] != plan.after.digest:
        _say(as_json, "the directory's release has another pack of laws: it decides otherwise than shown")
    followed = tuple(_followed(state, published["seq"], started))
    if as_json:
        whole = {
            "digest": published["digest"],
            "seq": published["seq"],
            "before": plan.before,
            "changes": plan.changes,
            "rewritten": plan.keys,
        }
        print_json({**whole, "gateways": followed, "notice": NOT_LEGAL_ADVICE})
    else:
        click.echo(f"published as @{published['seq']}: {published['digest']}")
        for one in followed:
            took = f"after {one.ms:.0f} ms" if one.ms is not None else f"not within {FOLLOW_S_MAX:g} s"
            click.echo(f"  gateway {one.region}: {took}")
    if any(one.ms is None for one in followed):
        raise click.ClickException(
            "a gateway that does not follow serves by the earlier rules until stale_s_max and then refuses"
        )


def _print_plan(plan: _Plan) -> None:
    if plan.before is None:
        click.echo("No rules were published yet: these are the first.")
    elif plan.changes is None:
        click.echo("What holds was published with another release's pack: this release cannot compare with it.")
    else:
        print_changes(plan.changes, plan.keys, plan.day)


def _followed(state: Path, seq: int, started: float) -> Iterator[Followed]:
    """Each gateway of the stack, once its own gauge says that it holds the rules of feed event `seq` or later ones."""
    waiting = {name: region["gateway"] for name, region in addresses(state).regions.items()}
    clock = SystemClock()
    with httpx.Client(timeout=CALL_S_MAX / 10, trust_env=False) as client:
        while waiting and clock.monotonic_s() - started < FOLLOW_S_MAX:
            for name, url in list(waiting.items()):
                if _held(client, url) >= seq:
                    del waiting[name]
                    yield Followed(region=name, ms=(clock.monotonic_s() - started) * 1000)
            if waiting:
                time.sleep(POLL_S)
    for name in waiting:
        yield Followed(region=name, ms=None)


def _held(client: httpx.Client, url: str) -> float:
    """The feed position of the rules that hold at a gateway; 0 where it does not say."""
    try:
        text = client.get(f"{url}/metrics").text
    except httpx.HTTPError:
        return 0.0
    values = [line.split()[-1] for line in text.splitlines() if line.startswith(f"{_GAUGE} ")]
    return float(values[0]) if values else 0.0


def _digest(target: str, directory: Directory) -> str:
    if target.startswith("@") and target[1:].isdigit():
        return digest_at(int(target[1:]), directory)
    return target


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
