"""Figures of aliases; labels are closed sets."""

from prometheus_client import Counter

CLAIMS = Counter("domicile_directory_claims_total", "Claims of aliases by outcome", ["outcome"])
SETTLED = Counter("domicile_directory_claims_settled_total", "What became of claims", ["state"])
TWINS = Counter("domicile_directory_twin_keys_total", "Keys added under another blinding key")
