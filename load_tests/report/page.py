"""One page: whether promises held, how fast it was, what was broken on purpose meanwhile. No script, no outside asset."""

import datetime
from collections.abc import Iterable, Sequence
from html import escape

from load_tests.report.findings import Findings, Latency, promise
from load_tests.report.plots import Band, Series, lines, stacked

WORDS_MAX = 20
"""Of one kind of violation as many are spelt out here; the document beside the page holds all."""
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d5dbe3;--back:#fff;--good:#15743b;--bad:#b3261e;--band:#f0b429}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b5;--line:#364152;--back:#12171f;--good:#5fd38d;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:1120px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}.soft{color:var(--soft)}
.verdict{font-size:1.25rem;font-weight:600;padding:.6rem 1rem;border-left:6px solid var(--good);margin:1rem 0}
.bad{color:var(--bad)}.verdict.bad{border-color:var(--bad);color:var(--bad)}
.figures{display:flex;flex-wrap:wrap;gap:.6rem 2.2rem}.figures b{display:block;font-size:1.4rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left}
th{font-weight:600;color:var(--soft)}td{white-space:nowrap}td:last-child{white-space:normal}td.n,th.n{text-align:right}.wide{overflow-x:auto}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:var(--soft)}svg .grid{stroke:var(--line)}
svg .mark{fill:var(--ink);stroke:var(--back);stroke-width:3px;paint-order:stroke;font-weight:600}
svg .band{fill:var(--band);opacity:.22}svg .other{opacity:.12}code{font-size:.92em;overflow-wrap:anywhere}
"""


def html(findings: Findings) -> str:
    """The page as text."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Load: {escape(findings.scenario)}</title><style>{_STYLE}</style>",
        f"<h1>Load: {escape(findings.scenario)}</h1><p class=soft>{escape(findings.about)}</p>",
        f"<p class=soft>{_utc(findings.began)} to {_utc(findings.ended)} UTC</p>",
        _verdict(findings),
        _figures(findings),
        _violations(findings),
        _time(findings),
        _latency("Latency by jurisdiction and verdict, in ms", findings.latency),
        _latency("Latency by action, in ms", findings.actions),
        "" if findings.open_loop is None else _latency(_OPEN, [findings.open_loop]),
        _errors(findings),
        _faults(findings),
        _crossings(findings),
        _people(findings),
        _processes(findings),
        _notes(findings),
    ]
    return "\n".join(part for part in parts if part) + "</html>\n"


_OPEN = "Open loop: arrivals by the clock, latency from when a request was meant to be sent, in ms"


def _utc(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _verdict(findings: Findings) -> str:
    unproven = "".join(f"<p class=bad>{escape(words)}</p>" for words in findings.unproven)
    if findings.held and not findings.as_asked:
        why = "it proves too little" if unproven else "not all of it was played"
        return f"<p class='verdict bad'>No promise was seen broken, but {why}.</p>{unproven}"
    if findings.held and findings.swept:
        return "<p class=verdict>Every promise was kept.</p>"
    if findings.held:
        return "<p class=verdict>No promise was seen broken; the databases were not swept.</p>"
    kinds = ", ".join(findings.by_kind()) or "a process did not stay flat"
    return f"<p class='verdict bad'>Broken: {escape(kinds)}</p>{unproven}"


def _figures(findings: Findings) -> str:
    seconds = max(1.0, findings.ended - findings.began)
    shown = (
        (f"{len(findings.violations)}", "violations"),
        (f"{findings.answers:,}", "answers"),
        (f"{findings.answers / seconds:,.0f}", "a second"),
        (f"{sum(findings.people.values()):,}", "people"),
        (f"{findings.writes['acknowledged']:,} of {findings.writes['tried']:,}", "writes acknowledged"),
        (f"{findings.crossings_seen:,}", "crossings"),
        (f"{findings.cuts:,}", "cuts watched"),
        (f"{findings.unexplained:,}", "errors no fault explains"),
    )
    return "<div class=figures>" + "".join(f"<div><b>{figure}</b>{name}</div>" for figure, name in shown) + "</div>"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Numbers stand to the right. Nothing where there are no rows."""
    body = [
        "<tr>" + "".join(f"<td{' class=n' if _number(cell) else ''}>{_cell(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    ]
    if not body:
        return ""
    head = "".join(
        f"<th{' class=n' if name.startswith('#') else ''}>{escape(name.lstrip('#'))}</th>" for name in columns
    )
    return f"<h2>{escape(title)}</h2><div class=wide><table><tr>{head}</tr>{''.join(body)}</table></div>"


def _number(cell: object) -> bool:
    return isinstance(cell, int | float)


def _cell(cell: object) -> str:
    return f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else escape(str(cell))


def _violations(findings: Findings) -> str:
    parts: list[str] = []
    for kind, words in findings.by_kind().items():
        shown = "".join(f"<li><code>{escape(one)}</code></li>" for one in words[:WORDS_MAX])
        more = f"<li class=soft>and {len(words) - WORDS_MAX} more</li>" if len(words) > WORDS_MAX else ""
        parts.append(f"<h2>{escape(kind)}: {escape(promise(kind))} ({len(words)})</h2><ul>{shown}{more}</ul>")
    return "".join(parts)


def _time(findings: Findings) -> str:
    """Throughput and latency over time, faults behind them."""
    if not findings.seconds:
        return ""
    first = findings.seconds[0].at
    by_second = {one.at - first: one for one in findings.seconds}
    span = range(max(by_second) + 1)
    held = [by_second.get(second) for second in span]
    bands = [
        Band(str(number), f"{one.kind} {one.target}", one.began - first, (one.ended or findings.ended) - first)
        for number, one in enumerate(findings.windows, start=1)
        if one.kind != "epochs"
    ]
    counts = (
        Series("served", "#3b82c4", [one.served if one else 0 for one in held]),
        Series("refused while a fault held", "#e0a030", [one.excused if one else 0 for one in held]),
        Series("errors no fault explains", "#d0342c", [one.errors if one else 0 for one in held]),
    )
    latency = (
        Series("p50", "#3b82c4", [one.p50_ms if one else 0 for one in held]),
        Series("p99", "#8b5cc4", [one.p99_ms if one else 0 for one in held]),
    )
    return (
        f"<h2>Answers a second (faults behind, numbered as in their table)</h2>{stacked(counts, bands, unit='answers a second')}"
        f"<h2>Latency of each second's answers</h2>{lines(latency, bands, unit='ms')}"
    )


def _latency(title: str, rows: Sequence[Latency]) -> str:
    columns = ("", "#count", "#p50", "#p90", "#p99", "#p99.9", "#most")
    return _table(
        title, columns, [(one.name, one.count, one.p50, one.p90, one.p99, one.p999, one.highest) for one in rows]
    )


def _errors(findings: Findings) -> str:
    rows = [
        (one.code, one.status or "none", one.count, one.excused_by or "nothing explains it",
         ", ".join(f"{name} {count}" for name, count in sorted(one.actions.items())))
        for one in findings.errors
    ]  # fmt: skip
    said = [
        (one.code, words, count)
        for one in findings.errors
        if one.excused_by is None
        for words, count in sorted(one.details.items(), key=lambda each: -each[1])
    ]
    table = _table("Refusals and broken connections, by code", ("code", "status", "#count", "while", "actions"), rows)
    return table + _table("What those said that no fault explains", ("code", "its words", "#count"), said)


def _faults(findings: Findings) -> str:
    rows = [
        (number, one.kind, one.target, one.began - findings.began, (one.ended or findings.ended) - one.began)
        for number, one in enumerate(findings.windows, start=1)
    ]
    failed = "".join(f"<p class=soft>Could not be played: {escape(words)}</p>" for words in findings.faults_failed)
    return _table("Faults, as they happened", ("#", "kind", "target", "#at, s", "#for, s"), rows) + failed


def _crossings(findings: Findings) -> str:
    rows = [(one["from"], one["to"], one["verb"], one["ground"], one["count"]) for one in findings.crossings]
    return _table("Crossings recorded", ("from", "home", "verb", "ground", "#count"), rows)


def _people(findings: Findings) -> str:
    rows = [(*name.split(" ", 1), count) for name, count in sorted(findings.people.items())]
    return _table("People", ("residence", "cell", "#people"), rows)


def _processes(findings: Findings) -> str:
    rows = [
        (one.process, one.memory_start_mb, one.memory_end_mb, one.descriptors_start, one.descriptors_end,
         one.processes_start, one.processes_end, one.alone, 100 * one.alone_change, 100 * one.cpu_share,
         "flat" if one.flat else "NOT FLAT")
        for one in findings.processes
    ]  # fmt: skip
    columns = (
        "process",
        "#MB after warm-up",
        "#MB at the end",
        "#descriptors",
        "#at the end",
        "#processes",
        "#at the end",
        "#judged alone",
        "#most that one changed, %",
        "#% of a core",
        "",
    )
    return _memory(findings) + _table("Memory and file descriptors", columns, rows)


_COLOURS = (
    "#3b82c4",
    "#d0342c",
    "#2e9a63",
    "#e0a030",
    "#8b5cc4",
    "#16969c",
    "#c2559d",
    "#7a7f2a",
    "#8a5a3b",
    "#5b6675",
)


def _memory(findings: Findings) -> str:
    """Of the processes that hold most."""
    held = sorted(findings.memory.items(), key=lambda one: -max(one[1], default=0.0))[: len(_COLOURS)]
    if not held or len(held[0][1]) < 2:
        return ""
    series = [Series(name, colour, values) for (name, values), colour in zip(held, _COLOURS, strict=False)]
    drawn = lines(series, (), unit="MB", step_s=findings.memory_step_s)
    return f"<h2>Memory of the {len(held)} largest processes, over the whole run</h2>{drawn}"


def _notes(findings: Findings) -> str:
    return "".join(f"<p class=soft>{escape(note)}</p>" for note in findings.notes)
