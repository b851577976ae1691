"""The summary at the end, for a terminal."""

from load_tests.report.findings import Findings, promise

EACH_MAX = 5
"""Violations of one kind that are spelt out; all are in the document."""


def summary(findings: Findings) -> str:
    lines = [""]
    lines += _figures(findings)
    lines += [f"note: {note}" for note in findings.notes]
    lines += [f"could not be played: {words}" for words in findings.faults_failed]
    lines += findings.unproven
    lines += _verdict(findings)
    return "\n".join(lines)


def _figures(findings: Findings) -> list[str]:
    seconds = max(1.0, findings.ended - findings.began)
    writes = findings.writes
    people, rate = sum(findings.people.values()), findings.answers / seconds
    lines = [
        f"{findings.answers} answers to {people} people in {seconds:.0f} s, {rate:.0f} a second",
        f"writes: {writes['acknowledged']} of {writes['tried']} acknowledged; crossings: {findings.crossings_seen}; cuts: {findings.cuts}",
        f"{'latency, ms':28} {'count':>8} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'most':>8}",
    ]
    for one in [*findings.latency, *([findings.open_loop] if findings.open_loop else [])]:
        figures = (one.p50, one.p90, one.p99, one.p999, one.highest)
        lines.append(f"{one.name:28} {one.count:8d} " + " ".join(f"{figure:8.1f}" for figure in figures))
    for error in findings.errors:
        put_down = f"while {error.excused_by}" if error.excused_by else "UNEXPLAINED"
        lines.append(f"refused {error.count:6d} x {error.status} {error.code} ({put_down})")
        if not error.excused_by:
            lines += [f"        {count:6d} x {words}" for words, count in error.details.items()]
    return lines


def _verdict(findings: Findings) -> list[str]:
    lines: list[str] = []
    for kind, words in findings.by_kind().items():
        lines.append(f"BROKEN {kind}: {promise(kind)} ({len(words)})")
        lines += [f"       {one}" for one in words[:EACH_MAX]]
    for one in findings.processes:
        if not one.flat:
            lines.append(
                f"NOT FLAT {one.process}: {one.memory_start_mb:.0f} -> {one.memory_end_mb:.0f} MB, "
                f"descriptors {one.descriptors_start} -> {one.descriptors_end}, "
                f"processes {one.processes_start} -> {one.processes_end}, "
                f"one by itself {one.alone_change:+.1%}"
            )
    if not findings.swept:
        lines.append(
            "the databases were not swept (no DSNs or no operator's token): rows, fences and crossings are not proven"
        )
    lines.append(f"violations: {len(findings.violations)}; errors that no fault explains: {findings.unexplained}")
    return lines
