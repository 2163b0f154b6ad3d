"""A table of cm.toml checked against its struct, key by key, so that every mistake is found at once."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from cm_exec.config.diagnostics import Findings, KeyPath, found
from cm_exec.config.rules import broken_rules
from cm_exec.config.schema.key_spec import converted, expectation
from cm_exec.config.suggestion import right_value
from cm_exec.config.unknown import refuse_key


def read_table(table: object, shape: type[Struct], at: KeyPath, findings: Findings) -> dict[str, Any]:
    """The right values of a table, by key and as the shape's types have them.

    What is wrong, unknown or missing is left out, and is in the findings.
    """
    if not isinstance(table, dict):
        findings.add(at, f"expected a table, found {found(table)}")
        return {}
    fields = {known.encode_name: known for known in msgspec.structs.fields(shape)}
    values = {
        key: _read_key(value, fields[key].type, (*at, key), findings) for key, value in table.items() if key in fields
    }
    meant = {refuse_key(key, table, shape, at, findings) for key in table if key not in fields}
    for key, known in fields.items():
        if known.required and key not in table and key not in meant:
            findings.add((*at, key), f"expected {expectation(known.type).words}, found nothing")
    return {key: value for key, value in values.items() if value is not UNSET}


def _read_key(value: object, expected: Any, at: KeyPath, findings: Findings) -> Any:
    for inside, message in broken_rules(str(at[-1]), value):
        findings.add((*at, inside), message)
    return read_value(value, expected, at, findings)


def read_value(value: object, expected: Any, at: KeyPath, findings: Findings) -> Any:
    """The value as the type has it; UNSET where it is wrong, which is in the findings then."""
    try:
        return converted(value, expected)
    except ValueError:
        known = len(findings.problems)
    _read_items(value, expected, at, findings)
    if len(findings.problems) == known:
        findings.add(at, mismatch(value, expected))
    return UNSET


def _read_items(value: object, expected: Any, at: KeyPath, findings: Findings) -> None:
    """Look for the items that are wrong, where an array or a table belongs."""
    wanted = expectation(expected)
    if isinstance(value, list) and wanted.item is not None:
        for index, item in enumerate(value):
            read_value(item, wanted.item, (*at, index), findings)
    if isinstance(value, Mapping) and wanted.entry is not None:
        for name, entry in value.items():
            read_value(name, wanted.entry[0], (*at, name), findings)
            read_value(entry, wanted.entry[1], (*at, name), findings)


def mismatch(value: object, expected: Any) -> str:
    """Say what is expected and what was found, for a value that does not fit."""
    wanted = expectation(expected)
    meant = None if wanted.private else right_value(value, expected, wanted)
    message = f"expected {wanted.words}, found {found(value, private=wanted.private)}"
    return f"{message}; did you mean {meant}?" if meant else message
