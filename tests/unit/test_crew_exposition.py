"""Metrics of several processes as one text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from foundation.crew.exposition import merged


def shown(served: int, *, more: bool = False) -> str:
    registry = CollectorRegistry()
    Gauge("up", "One is up", registry=registry).set(1)
    answers = Counter("answers", 'By "status"', ["status", "route"], registry=registry)
    answers.labels("200", '/a{b="c"} 1').inc(served)
    Histogram("seconds", "How long", ["route"], buckets=(0.1, 1.0), registry=registry).labels("/a").observe(0.5)
    if more:
        Gauge("only_here", "Of one process", registry=registry).set(7)
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_sample_stays_under_its_workers_name_and_nothing_else_changes() -> None:
    texts = {"1": shown(3), "2": shown(5, more=True)}
    expected = {
        (name, labels | {("worker", worker)}): value
        for worker, text in texts.items()
        for (name, labels), value in samples(text).items()
    }
    assert samples(merged(texts)) == expected


def test_each_metric_stands_together_and_is_described_once() -> None:
    text = merged({"1": shown(3), "2": shown(5)})
    assert text.count("# TYPE answers_total counter") == 1
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))


def test_nobody_shows_nothing() -> None:
    assert merged({}) == ""
