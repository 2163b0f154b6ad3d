"""The function schemas that are published at start, so that Foundry lists the module's functions."""

from collections.abc import Iterable
from typing import Any

import msgspec


def schemas_body(function_names: Iterable[str]) -> bytes:
    """The JSON array for POST schemas.

    A function without declared types is published as the official Python SDK does it: no inputs, a string out.
    """
    return msgspec.json.encode([_untyped(name) for name in function_names])


def _untyped(name: str) -> dict[str, Any]:
    return {
        "functionName": name,
        "inputs": [],
        "output": {"type": "single", "single": {"dataType": {"type": "string", "string": {}}}},
        "ontologyProvenance": None,
    }
