"""Another detector's patterns over one text: run by an interpreter that has it, `python peers.py NAME FILE`. Stands alone.

Prints JSON: the library's version, processor seconds, and `[kind, start, end]` of each finding, in bytes; kinds are those of the scanner. Each line is
handed over by itself, as rows of a column would be.
"""

import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SCORE_MIN = 0.4
"""Presidio's patterns score themselves; below this it calls them weak."""
PRESIDIO = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "mac",
}
LEFT_OUT = frozenset({"DATE_TIME", "URL", "CRYPTO"})
"""Of no kind here: any date is not a birth date. All other entities of Presidio are counted as national identifiers."""
DATAFOG = {
    "EMAIL": "email",
    "PHONE": "phone",
    "SSN": "national_id",
    "CREDIT_CARD": "card",
    "IP_ADDRESS": "ip",
}
Find = Callable[[str], Iterator[tuple[str, int, int]]]


def presidio() -> Find:
    """Every predefined recogniser that works by patterns; no language model, no context words."""
    analyzer: Any = importlib.import_module("presidio_analyzer")
    registry = analyzer.RecognizerRegistry()
    registry.load_predefined_recognizers()
    named = {"PhoneRecognizer"}
    recognizers = [
        one for one in registry.recognizers if isinstance(one, analyzer.PatternRecognizer) or one.name in named
    ]

    def find(text: str) -> Iterator[tuple[str, int, int]]:
        for recognizer in recognizers:
            for one in recognizer.analyze(text, recognizer.supported_entities, None) or ():
                if one.score >= SCORE_MIN and one.entity_type not in LEFT_OUT:
                    yield PRESIDIO.get(one.entity_type, "national_id"), one.start, one.end

    return find


def datafog() -> Find:
    annotator: Any = importlib.import_module("datafog.processing.text_processing.regex_annotator").RegexAnnotator()

    def find(text: str) -> Iterator[tuple[str, int, int]]:
        for one in annotator.annotate_with_spans(text)[1].spans:
            if one.label in DATAFOG:
                yield DATAFOG[one.label], one.start, one.end

    return find


PEERS: dict[str, tuple[str, Callable[[], Find]]] = {
    "presidio": ("presidio-analyzer", presidio),
    "datafog": ("datafog", datafog),
}


def main() -> None:
    name, path = sys.argv[1:]
    package, make = PEERS[name]
    find, found, at = make(), [], 0
    lines = Path(path).read_bytes().splitlines(keepends=True)
    list(find("a warm line: anna@example.org"))
    started = time.process_time()
    for line in lines:
        text = line.decode()
        for kind, start, end in find(text):
            found.append((kind, at + len(text[:start].encode()), at + len(text[:end].encode())))
        at += len(line)
    seconds = time.process_time() - started
    print(json.dumps({"version": importlib.metadata.version(package), "seconds": seconds, "found": found}))


if __name__ == "__main__":
    main()
