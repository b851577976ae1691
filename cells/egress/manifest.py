"""A release's manifest: what went, as what, on which ground, and what stayed; its digest under the cell's signature. Pure.

The manifest is canonical JSON (RFC 8785) in `manifest.json`; beside it `manifest.json.sig` is a signed note (C2SP) over its digest.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from foundation.ledger.canonical import canonical
from foundation.ledger.notes import NoteRefused, Signer, Verifier, opened

FORMAT = "domicile-release/1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
MANIFEST_BYTES_MAX = 64 << 20
EVENT_PREFIX = "release:"
_LINEAGE = "https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet"
_PRODUCER = "urn:domicile:egress"
_HEADER = "domicile release"


class ManifestRefused(Exception):
    """A manifest, its signature or its parts are not what they were when they were released; the message names the first thing."""


class PartFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the payload."""

    name: str
    rows: int
    bytes: int
    sha256: str


def digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def payload_digest(parts: Sequence[PartFile]) -> str:
    """Over names and digests of all parts, in their order."""
    return digest(canonical([[part.name, part.sha256] for part in parts]))


def lineage(namespace: str, table: str, fields: Mapping[str, Mapping[str, bool]]) -> dict[str, Any]:
    """OpenLineage's columnLineage facet. `fields`: column → the treatments it left under, each with whether it masks."""
    return {
        "_producer": _PRODUCER,
        "_schemaURL": _LINEAGE,
        "fields": {
            name: {
                "inputFields": [
                    {
                        "namespace": namespace,
                        "name": f"product.{table}",
                        "field": name,
                        "transformations": [
                            {
                                "type": "DIRECT",
                                "subtype": "TRANSFORMATION" if masking else "IDENTITY",
                                "description": treatment,
                                "masking": masking,
                            }
                            for treatment, masking in treatments.items()
                        ],
                    }
                ]
            }
            for name, treatments in fields.items()
        },
    }


def encoded(document: Mapping[str, Any]) -> bytes:
    return canonical(msgspec.to_builtins(document))


def signed(raw: bytes, release_id: str, signer: Signer) -> bytes:
    """The note beside a manifest."""
    return signer.sign(_text(release_id, raw)).encode()


def verified(raw: bytes, note: bytes, verifier: Verifier) -> dict[str, Any]:
    """The manifest, if the key has signed it. Raises ManifestRefused."""
    if len(raw) > MANIFEST_BYTES_MAX:
        raise ManifestRefused(f"a manifest has at most {MANIFEST_BYTES_MAX} bytes")
    try:
        document = msgspec.json.decode(raw, type=dict[str, Any])
        said = opened(note, verifier)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ManifestRefused("the manifest is not JSON") from exc
    except NoteRefused as exc:
        raise ManifestRefused(f"the signature: {exc}") from exc
    if document.get("format") != FORMAT or said != _text(str(document.get("id")), raw):
        raise ManifestRefused("the manifest is not the one that was signed")
    return document


def _text(release_id: str, raw: bytes) -> str:
    return f"{_HEADER}\n{release_id}\n{digest(raw)}\n"
