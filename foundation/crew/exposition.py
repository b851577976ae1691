"""`/metrics` of several processes as one text: every sample gets the label `worker`. Pure."""

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{)?")
_DESCRIBED = re.compile(r"# (?:HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*)(?: |$)")


def merged(texts: Mapping[str, str]) -> str:
    """`texts`: by worker, as prometheus_client writes them: what describes a metric stands before its samples. All samples of a metric
    stand together in what comes out, under the description that came first."""
    described: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in texts.items():
        metric = ""
        for line in text.splitlines():
            found = _DESCRIBED.match(line)
            if found is not None:
                metric = found[1]
                said = described.setdefault(metric, [])
                if not any(other.startswith(line[:7]) for other in said):
                    said.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(metric, []).append(labelled(line, worker))
    return "".join(f"{line}\n" for metric, lines in samples.items() for line in (*described.get(metric, ()), *lines))


def labelled(sample: str, worker: str) -> str:
    """A sample's line with the label in it."""
    found = _SAMPLE.match(sample)
    if found is None:
        return sample
    rest = sample[found.end() :]
    return f'{found[1]}{{worker="{worker}",{rest}' if found[2] else f'{found[1]}{{worker="{worker}"}}{rest}'
