"""`domicile rules test`: cases asked of the rules, failures shown."""

import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from gateway.cli.options import json_option
from gateway.cli.rules.reading import DEFAULT_POLICY, rules_of, text_of
from routing_rules.cases import CaseFile, CasesError, Outcome, read, run, shipped
from routing_rules.explain import NOT_LEGAL_ADVICE
from routing_rules.pack import bundled
from routing_rules.rules import Rules


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    passed: int
    failed: tuple[Outcome, ...]


@click.command("test", short_help="Ask cases of the rules.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"What files that name no policy are asked of (default: {DEFAULT_POLICY} where there is one).",
)
@json_option
def run_cases(files: tuple[Path, ...], policy_file: Path | None, as_json: bool) -> None:
    """Ask cases of the rules: those of FILES, or those of this release. Exit status 1 where one fails."""
    started = time.perf_counter()
    found = _policy(policy_file) if files or policy_file is not None else None
    results = tuple(_results(files, found))
    seconds = time.perf_counter() - started
    failed = sum(len(one.failed) for one in results)
    passed = sum(one.passed for one in results)
    if as_json:
        click.echo(
            msgspec.json.encode({"passed": passed, "failed": failed, "files": results, "notice": NOT_LEGAL_ADVICE})
        )
    else:
        for result in results:
            _print(result)
        click.echo(f"{passed + failed} cases, {passed} as expected, {failed} not; {seconds:.1f} s")
        click.echo(NOT_LEGAL_ADVICE)
    if failed:
        raise click.exceptions.Exit(1)


def _policy(policy_file: Path | None) -> Rules | None:
    if policy_file is None and not Path(DEFAULT_POLICY).exists():
        return None
    path = policy_file or Path(DEFAULT_POLICY)
    return rules_of(text_of(path), str(path))


def _results(files: tuple[Path, ...], found: Rules | None) -> Iterator[FileResult]:
    if files:
        for path in files:
            file = _read(text_of(path), str(path))
            beside = None if file.policy is None else path.parent / file.policy
            rules = found if beside is None else rules_of(text_of(beside), str(beside))
            yield _result(str(path), file, rules)
        return
    texts = shipped()
    for name, text in texts.items():
        if name.endswith(".policy.toml"):
            continue
        file = _read(text, name)
        yield _result(name, file, found if file.policy is None else rules_of(texts[file.policy], file.policy))


def _read(text: str, name: str) -> CaseFile:
    try:
        return read(text, bundled())
    except CasesError as exc:
        listed = "\n".join(f"  {mistake}" for mistake in exc.mistakes)
        raise click.ClickException(
            f"{name} has {len(exc.mistakes)} mistake{'s' if len(exc.mistakes) > 1 else ''}:\n{listed}"
        ) from exc


def _result(name: str, file: CaseFile, rules: Rules | None) -> FileResult:
    outcomes = run(file, bundled(), rules)
    failed = tuple(one for one in outcomes if one.differences)
    return FileResult(file=name, passed=len(outcomes) - len(failed), failed=failed)


def _print(result: FileResult) -> None:
    for one in result.failed:
        click.echo(f"{result.file}:{one.case.line}: {one.case.name} ({one.case.ask} at {one.case.at})")
        for difference in one.differences:
            click.echo(f"    {difference.key}: expected {difference.expected}, got {difference.got}")
        click.echo(f"    ground: {one.ground}")
        click.echo(f"    cited: {'; '.join(one.case.cite)}")
    click.echo(f"{result.file}: {result.passed} as expected, {len(result.failed)} not")
