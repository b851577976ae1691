"""JSON Schemas in words, and tables of Markdown. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_NO_LAST_NEWLINE = r"(?!\n)"
"""What patterns end in besides `$`, for dialects in which that also matches before a last newline."""


def shapes(schemas: Mapping[str, Any]) -> list[str]:
    parts = ["### Shapes\n"]
    for name, schema in sorted(schemas.items()):
        if "properties" not in schema:
            parts.append(f"`{name}`: {type_of(schema)}\n")
            continue
        told = " ".join(str(schema.get("description", "")).split())
        required = schema.get("required", [])
        rows = [
            (f"`{field}`{'' if field in required else ' (optional)'}", type_of(kind))
            for field, kind in schema["properties"].items()
        ]
        parts.append(f"`{name}`{f': {told}' if told else ''}\n\n{table(('member', 'is'), rows)}")
    return parts


def type_of(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in words. Pure."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rsplit('/', 1)[-1]}`"
    if "anyOf" in schema:
        return " or ".join(type_of(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "anything")
    if kind == "array":
        inner = schema.get("items")
        return (
            f"list{_bounds(schema)} of {type_of(inner)}"
            if isinstance(inner, dict) and inner
            else f"list{_bounds(schema)}"
        )
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, dict) and values else "object"
    pattern = schema.get("pattern", "").removesuffix(_NO_LAST_NEWLINE)
    return f"{kind}{_bounds(schema)}" + (f", like `{pattern}`" if pattern else "")


def _bounds(schema: Mapping[str, Any]) -> str:
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        least, most = schema.get(low), schema.get(high)
        unit = " characters" if low == "minLength" else ""
        if least is not None and most is not None:
            return f" ({least}{unit})" if least == most else f" ({least} to {most}{unit})"
        if most is not None:
            return f" (≤ {most}{unit})"
        if least is not None:
            return f" (≥ {least}{unit})"
    return ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    escaped = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "".join(f"| {line} |\n" for line in escaped)
