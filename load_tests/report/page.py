"""One page."""

import html as markup

from load_tests.report.findings import Findings


def html(findings: Findings) -> str:
    return f"<!doctype html><title>{markup.escape(findings.scenario)}</title>"
