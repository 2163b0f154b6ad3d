"""The functions that are known, and from where."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from cm_exec.local_runtime.core.declared import is_untyped, mismatch


class FunctionSource(StrEnum):
    """How a function came to be known."""

    SCHEMA = "schema"
    """The worker posted it."""
    DECLARED = "declared"
    """Told by the program that runs the worker."""
    CALLED = "called"
    """Somebody called it by that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionEntry:
    """A function. `schema` is as the worker posted it."""

    name: str
    source: FunctionSource
    schema: Mapping[str, Any] | None = None
    description: str | None = None

    @property
    def untyped(self) -> bool:
        """Whether nothing is known of inputs and output."""
        return self.schema is None or is_untyped(self.schema)


_CALLED_KEPT: Final = 200


@dataclass(slots=True)
class FunctionRegistry:
    """All known functions, those with a schema first."""

    _posted: dict[str, FunctionEntry] = field(default_factory=dict)
    _declared: dict[str, FunctionEntry] = field(default_factory=dict)
    _called: dict[str, FunctionEntry] = field(default_factory=dict)

    @property
    def entries(self) -> list[FunctionEntry]:
        """One a name."""
        rest = {**self._called, **self._declared}
        posted = [self._described(entry) for entry in self._posted.values()]
        return [*posted, *(entry for name, entry in rest.items() if name not in self._posted)]

    def _described(self, posted: FunctionEntry) -> FunctionEntry:
        """A schema has no place for a function's own description; the configuration may have one."""
        declared = self._declared.get(posted.name)
        if posted.description is not None or declared is None:
            return posted
        return replace(posted, description=declared.description)

    def get(self, name: str) -> FunctionEntry | None:
        """What is known of a function."""
        return self._posted.get(name) or self._declared.get(name) or self._called.get(name)

    def declare(self, descriptions: Mapping[str, str | None]) -> None:
        """Replace the functions that are known without a schema; name to description."""
        self._declared = {
            name: FunctionEntry(name=name, source=FunctionSource.DECLARED, description=description)
            for name, description in descriptions.items()
        }

    def called(self, name: str) -> bool:
        """Note a call; whether the name is new."""
        if self.get(name) is not None or len(self._called) >= _CALLED_KEPT:
            return False
        self._called[name] = FunctionEntry(name=name, source=FunctionSource.CALLED)
        return True

    def post(self, body: bytes) -> list[str]:
        """Take the body of POST schemas in place of all earlier ones; sentences on what is wrong with it."""
        try:
            schemas = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return [f"the schemas are not JSON: {error}"]
        wrong = [] if isinstance(schemas, list) else ["the schemas are one object; the endpoint takes an array"]
        schemas = schemas if isinstance(schemas, list) else [schemas]
        wrong += [sentence for index, schema in enumerate(schemas) for sentence in _faults(schema, index)]
        self._posted = {
            schema["functionName"]: FunctionEntry(
                name=schema["functionName"],
                source=FunctionSource.SCHEMA,
                schema=schema,
                description=_description(schema),
            )
            for schema in schemas
            if isinstance(schema, dict) and isinstance(schema.get("functionName"), str)
        }
        return wrong

    def mismatch(self, function: str, body: bytes, *, streamed: bool) -> str | None:
        """How a result differs from what the function's schema declares, None where it does not or none is known."""
        entry = self._posted.get(function)
        if entry is None or entry.schema is None or entry.untyped:
            return None
        output = entry.schema.get("output")
        return mismatch(body, output, streamed=streamed) if isinstance(output, dict) else None


def _description(schema: Mapping[str, Any]) -> str | None:
    description = schema.get("description")
    return description if isinstance(description, str) else None


def _faults(schema: Any, index: int) -> list[str]:
    if not isinstance(schema, dict):
        return [f"schema {index} is not an object"]
    name = schema.get("functionName")
    if not isinstance(name, str) or not name:
        return [f"schema {index} has no functionName"]
    faults = []
    inputs = schema.get("inputs")
    if not isinstance(inputs, list):
        faults.append(f"{name}: inputs is not an array")
    else:
        faults += [sentence for given in inputs for sentence in _input_faults(given, name)]
    output = schema.get("output")
    if not isinstance(output, dict) or output.get("type") not in {"single", "void"}:
        faults.append(f"{name}: output is neither single nor void")
    elif output["type"] == "single":
        single = output.get("single")
        faults += _type_faults(single.get("dataType") if isinstance(single, dict) else None, f"{name}: the output")
    return faults


def _input_faults(given: Any, function: str) -> list[str]:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        return [f"{function}: an input has no name"]
    return _type_faults(given.get("dataType"), f"{function}: input {given['name']}")


_INNER: Final = {
    "list": ("elementsType",),
    "set": ("elementsType",),
    "map": ("keysType", "valuesType"),
    "optionalType": ("wrappedType",),
}
_PLAIN: Final = frozenset(
    {
        *("boolean", "string", "binary", "date", "timestamp"),
        *("integer", "long", "short", "byte", "float", "double", "decimal"),
        *("ontologyEdit", "unknown"),
    }
)


def _type_faults(data_type: Any, where: str) -> list[str]:
    """What is wrong with a tagged union `{"type": T, T: body}`."""
    if not isinstance(data_type, dict) or not isinstance(data_type.get("type"), str):
        return [f"{where} has no dataType"]
    kind = data_type["type"]
    body = data_type.get(kind)
    if not isinstance(body, dict):
        return [f"{where}: the type {kind!r} has no member of that name"]
    if kind == "anonymousCustomType":
        fields = body.get("fields")
        if not isinstance(fields, dict):
            return [f"{where}: a struct without fields"]
        return [fault for name, inner in fields.items() for fault in _type_faults(inner, f"{where}.{name}")]
    if kind in _INNER:
        return [fault for member in _INNER[kind] for fault in _type_faults(body.get(member), f"{where}: {member}")]
    return [] if kind in _PLAIN else [f"{where}: {kind!r} is not a known type"]
