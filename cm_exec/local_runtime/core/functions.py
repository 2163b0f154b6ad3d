"""The functions that are known, and from where."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from cm_exec.datatypes import BINARY, STRING, DataType, ListType, SetType, TypeJsonError, type_from_json
from cm_exec.datatypes.check import Check, TypeMismatchError, checker
from cm_exec.protocol.json_text import refuse_constant


class FunctionSource(StrEnum):
    """How a function came to be known."""

    SCHEMA = "schema"
    """The worker posted it."""
    DECLARED = "declared"
    """It is in the worker's configuration."""
    CALLED = "called"
    """It has answered a call by that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionInfo:
    """What the worker's configuration says of a function. `timeout` in seconds, inf for none, None if unknown."""

    description: str | None = None
    timeout: float | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionEntry:
    """A function. `schema` is as the worker posted it, and `returns` the type that it declares for results."""

    name: str
    source: FunctionSource
    info: FunctionInfo = FunctionInfo()
    schema: Mapping[str, Any] | None = None
    returns: DataType | None = None

    @property
    def untyped(self) -> bool:
        """Whether nothing is known of inputs and output.

        Without declarations SDKs publish no inputs and a string: the author said nothing of the output then.
        """
        return self.schema is None or (not self.schema.get("inputs") and self.returns == STRING)


_CALLED_KEPT: Final = 200


@dataclass(slots=True)
class FunctionRegistry:
    """All known functions, those with a schema first."""

    _posted: dict[str, FunctionEntry] = field(default_factory=dict)
    _declared: Mapping[str, FunctionInfo] = field(default_factory=dict)
    _called: dict[str, None] = field(default_factory=dict)

    @property
    def entries(self) -> list[FunctionEntry]:
        """One for each name."""
        names = {**self._posted, **self._called, **self._declared}
        return [entry for name in names if (entry := self.get(name))]

    def get(self, name: str) -> FunctionEntry | None:
        """Return what is known of a function. A schema has no place for its description, as a rule."""
        posted, info = self._posted.get(name), self._declared.get(name)
        if posted is not None and info is not None:
            description = posted.info.description if posted.info.description is not None else info.description
            return replace(posted, info=replace(info, description=description))
        if info is not None:
            return FunctionEntry(name=name, source=FunctionSource.DECLARED, info=info)
        return posted or (FunctionEntry(name=name, source=FunctionSource.CALLED) if name in self._called else None)

    def declare(self, functions: Mapping[str, FunctionInfo]) -> None:
        """Replace the functions that are known from the worker's configuration."""
        self._declared = functions

    def timeout_of(self, name: str) -> float | None:
        """Return the function's own timeout in seconds, inf for none, None if unknown."""
        declared = self._declared.get(name)
        return declared.timeout if declared else None

    def service_of(self, name: str) -> str:
        """Return the name of the service that serves a function: the function's own, if it has no other."""
        declared = self._declared.get(name)
        return declared.service or name if declared else name

    def answered(self, name: str) -> bool:
        """Note a function that gave a result, and return whether it is new: a mistyped name is no function."""
        if self.get(name) is not None or len(self._called) >= _CALLED_KEPT:
            return False
        self._called[name] = None
        return True

    def post(self, body: bytes) -> list[str]:
        """Replace all posted schemas by those in the body of POST schemas; return what is wrong with it."""
        try:
            schemas = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return [f"the schemas are not JSON: {error}"]
        wrong = [] if isinstance(schemas, list) else ["the schemas are one object; the endpoint takes an array"]
        self._posted = {}
        for index, schema in enumerate(schemas if isinstance(schemas, list) else [schemas]):
            if not isinstance(schema, dict):
                wrong.append(f"schema {index} is not an object")
            elif not isinstance(name := schema.get("functionName"), str) or not name:
                wrong.append(f"schema {index} has no functionName")
            else:
                returns, problems = _read_schema(name, schema)
                wrong += problems
                description = schema.get("description")
                self._posted[name] = FunctionEntry(
                    name=name,
                    source=FunctionSource.SCHEMA,
                    schema=schema,
                    info=FunctionInfo(description=description if isinstance(description, str) else None),
                    returns=returns,
                )
        return wrong

    def mismatch(self, function: str, body: bytes, *, streamed: bool) -> str | None:
        """Return how a result differs from the type that the function's schema declares, None if it does not.

        What a void function returns is not checked, and a binary result is any bytes. A streamed list may be its
        elements one after another, as the official SDKs send it.
        """
        entry = self._posted.get(function)
        if entry is None or entry.returns in {None, BINARY} or entry.untyped:
            return None
        try:
            values = list(_values(body, streamed=streamed))
        except (ValueError, RecursionError):
            return "the result is not JSON, and the function declares its type"
        check = checker(entry.returns)
        if streamed and isinstance(entry.returns, ListType | SetType):
            if len(values) == 1 and _problem(check, values[0]) is None:
                return None
            check = checker(entry.returns.element)
        found = (_problem(check, value) for value in values)
        problem = next((problem for problem in found if problem), None)
        return problem and f"the result is not of the declared type: {problem}"


def _problem(check: Check, value: Any) -> str | None:
    try:
        check(value)
    except TypeMismatchError as error:
        return str(error)
    return None


def _values(body: bytes, *, streamed: bool) -> Iterator[Any]:
    """Yield the value, or the values of a stream. Raises ValueError."""
    text = body.decode().strip()
    if not streamed:
        yield _DECODER.decode(text)
        return
    while text:
        value, end = _DECODER.raw_decode(text)
        yield value
        text = text[end:].lstrip()


_DECODER: Final = json.JSONDecoder(parse_constant=refuse_constant)
"""Python's reader takes numbers beyond a double and halves of surrogate pairs, which JSON allows; NaN it must not."""


def _read_schema(name: str, schema: Mapping[str, Any]) -> tuple[DataType | None, list[str]]:
    """Return the declared type of the results, None for void or an unusable one, and what is wrong."""
    problems: list[str] = []

    def read(data_type: object, where: str) -> DataType | None:
        try:
            return type_from_json(data_type)
        except TypeJsonError as error:
            problems.append(f"{name}: {where}: {error}")
            return None

    inputs = schema.get("inputs")
    if not isinstance(inputs, list):
        problems.append(f"{name}: inputs is not an array")
        inputs = []
    for each in inputs:
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            read(each.get("dataType"), f"input {each['name']}")
        else:
            problems.append(f"{name}: an input has no name")
    output = schema.get("output")
    kind = output.get("type") if isinstance(output, dict) else None
    if kind == "void":
        return None, problems
    if kind != "single":
        return None, [*problems, f"{name}: output is neither single nor void"]
    single = output.get("single") if isinstance(output, dict) else None
    return read(single.get("dataType") if isinstance(single, dict) else None, "the output"), problems
