"""What the tour found: checks that hold or do not, and figures. Values first, tables from them."""

import statistics
from collections import Counter

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Check(msgspec.Struct, frozen=True):
    """One promise and whether it was kept."""

    promise: str
    kept: bool
    seen: str


class Sample(msgspec.Struct, frozen=True):
    """One answered request: status, refusal code if any, milliseconds."""

    status: int
    code: str | None
    ms: float


class Report:
    """Collects checks and samples by scene."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.checks: list[Check] = []
        self.samples: dict[str, list[Sample]] = {}
        self.scene = "start"

    def begin(self, number: int, title: str) -> None:
        self.scene = title
        self.console.print(f"\n[bold cyan]{number}[/]  [bold]{escape(title)}[/]")

    def say(self, text: str) -> None:
        self.console.print(f"   {escape(text)}")

    def sample(self, sample: Sample) -> None:
        self.samples.setdefault(self.scene, []).append(sample)

    def check(self, promise: str, kept: bool, seen: object) -> None:
        """Records a promise with what was seen."""
        self.checks.append(Check(promise, kept, str(seen)))
        mark = "[green]✓[/]" if kept else "[bold red]✗[/]"
        # A grid, so that a long line goes on under its own beginning.
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row("  ", mark, f"{escape(promise)} [dim]({escape(str(seen))})[/]")
        self.console.print(line)

    def table(self, title: str, columns: list[str], rows: list[list[object]]) -> None:
        table = Table(title=title, title_justify="left", title_style="italic", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, justify="right" if column[:1] in "#%" or column.endswith("ms") else "left")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        self.console.print(table)

    @property
    def broken(self) -> list[Check]:
        return [check for check in self.checks if not check.kept]

    def figures(self) -> None:
        """The closing tables: requests by scene, and the promises that were not kept."""
        rows: list[list[object]] = []
        for scene, samples in self.samples.items():
            codes = Counter(f"{one.status} {one.code or ''}".strip() for one in samples)
            spoken = ", ".join(f"{count}x {code}" for code, count in sorted(codes.items()))
            p50, p99 = quantiles([one.ms for one in samples])
            rows.append([scene, len(samples), f"{p50:.1f}", f"{p99:.1f}", spoken])
        self.console.print()
        self.table("What happened", ["scene", "# requests", "p50 ms", "p99 ms", "answers"], rows)
        kept = len(self.checks) - len(self.broken)
        colour = "green" if not self.broken else "red"
        self.console.print(f"[bold {colour}]{kept} of {len(self.checks)} promises kept[/]")
        for check in self.broken:
            self.console.print(f"  [red]✗ {escape(check.promise)}: {escape(check.seen)}[/]")

    def document(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "kept": not self.broken,
            "checks": [msgspec.to_builtins(check) for check in self.checks],
            "scenes": {
                scene: {
                    "requests": len(samples),
                    "p50_ms": round(quantiles([one.ms for one in samples])[0], 2),
                    "p99_ms": round(quantiles([one.ms for one in samples])[1], 2),
                    "answers": dict(Counter(f"{one.status} {one.code or ''}".strip() for one in samples)),
                }
                for scene, samples in self.samples.items()
            },
        }


def quantiles(values: list[float]) -> tuple[float, float]:
    """(median, 99th percentile); zeros for nothing."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]
