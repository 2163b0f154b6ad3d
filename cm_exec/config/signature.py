"""The declared types of functions: `inputs`, `returns`, and the named types of `[types]`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct, field

from cm_exec.config.schema import FieldTable, InputTable, ReturnsTable
from cm_exec.config.schema.keys import TYPE_WORDS, MemberName
from cm_exec.config.validate import Diagnostics, KeyPath, describe, read_table, read_value
from cm_exec.datatypes import (
    MAX_DEPTH,
    UNKNOWN,
    DataType,
    Field,
    StructType,
    required_by_default,
    size_problem,
)
from cm_exec.datatypes.syntax import BUILTIN_NAMES, TypeTextError, UnusableNameError, is_name, parse_type
from cm_exec.protocol.function_schema import (
    Bound,
    Input,
    Range,
    RangeKind,
    Returns,
    describe_bound,
    range_kind,
    read_bound,
)
from cm_exec.text import did_you_mean, quoted

_DEEPEST: Final = MAX_DEPTH + 4
"""The number of keys that lead to the innermost type: functions, a name, inputs, a name, and then the types."""


class Signature(Struct, frozen=True, kw_only=True):
    """A function's declared types, None if it declares none."""

    inputs: tuple[Input, ...] | None
    returns: Returns | None


class TypeReader(Struct):
    """Reads the types in a file, and resolves the names of `[types]`, whose raw table is `tables`.

    An invalid type is reported and becomes `unknown`, so that it is reported once.
    """

    tables: Mapping[str, object]
    diagnostics: Diagnostics
    known: dict[str, DataType] = field(default_factory=dict)
    being_read: list[str] = field(default_factory=list)

    @classmethod
    def of_table(cls, table: object, diagnostics: Diagnostics) -> "TypeReader":
        """Read every type of `[types]`, also those that no function uses."""
        if not isinstance(table, dict):
            diagnostics.add(("types",), f"expected a table of types, found {describe(table)}")
            table = {}
        reader = cls(table, diagnostics)
        for name in table:
            if not is_name(name):
                message = "expected a name of letters, digits and underscores that is not the name of a built-in type"
                diagnostics.add(("types", name), f"{message}, found {describe(name)}")
            reader._named(name)
        return reader

    def signature(self, own: Mapping[str, Any], at: KeyPath) -> Signature:
        """Return the types of a function with these valid values of its own."""
        inputs, returns = own.get("inputs", UNSET), own.get("returns", UNSET)
        return Signature(
            inputs=None if inputs is UNSET else tuple(self._inputs(inputs, (*at, "inputs"))),
            returns=None if returns is UNSET else self._returns(returns, (*at, "returns")),
        )

    def _inputs(self, table: Mapping[str, object], at: KeyPath) -> Iterator[Input]:
        for name, entry in table.items():
            type_, more = self._entry(entry, InputTable, (*at, name))
            yield Input(
                name=name,
                type=type_,
                required=more.get("required", required_by_default(type_)),
                description=more.get("description"),
                range=self._range(type_, more, (*at, name)),
            )

    def _returns(self, entry: object, at: KeyPath) -> Returns:
        if isinstance(entry, dict) and entry.get("type") == "void":
            return Returns(
                type=None, description=read_table(entry, ReturnsTable, at, self.diagnostics).get("description")
            )
        if entry == "void":
            return Returns(type=None)
        type_, more = self._entry(entry, ReturnsTable, at)
        return Returns(type=type_, description=more.get("description"))

    def _entry(self, entry: object, shape: type[Struct], at: KeyPath) -> tuple[DataType, Mapping[str, Any]]:
        """Parse a short form (type) or a long form (table with key `type`); return the type and the other keys."""
        known = len(self.diagnostics.problems)
        if not isinstance(entry, dict) or "type" not in entry:
            type_ = self._type(entry, at)
            if len(self.diagnostics.problems) > known and _lacks_type(entry, shape):
                del self.diagnostics.problems[known:]
                self.diagnostics.add((*at, "type"), f"expected {TYPE_WORDS}, found nothing")
            return type_, {}
        more = read_table(entry, shape, at, self.diagnostics)
        return self._type(entry["type"], (*at, "type")), more

    def _type(self, value: object, at: KeyPath) -> DataType:
        if isinstance(value, str):
            type_ = self._parsed(value, at)
        elif isinstance(value, dict):
            type_ = self._struct(value, at)
        else:
            self.diagnostics.add(at, f"expected {TYPE_WORDS}, found {describe(value)}")
            return UNKNOWN
        if (message := size_problem(type_)) is not None:
            self.diagnostics.add(at, message)
            return UNKNOWN
        return type_

    def _parsed(self, text: str, at: KeyPath) -> DataType:
        try:
            return parse_type(text, self._named)
        except TypeTextError as error:
            hint = did_you_mean(error.unknown, [*self.tables, *BUILTIN_NAMES], quote=quoted) if error.unknown else ""
            self.diagnostics.add(at, "; ".join(filter(None, (str(error), hint))))
        return UNKNOWN

    def _struct(self, table: Mapping[str, object], at: KeyPath) -> DataType:
        if len(at) > _DEEPEST:
            self.diagnostics.add(at[:_DEEPEST], f"types are nested more than {MAX_DEPTH} deep")
            return UNKNOWN
        if not table:
            self.diagnostics.add(at, "expected the fields of a struct, found an empty table")
            return UNKNOWN
        return StructType(tuple(self._field(name, entry, (*at, name)) for name, entry in table.items()))

    def _field(self, name: str, entry: object, at: KeyPath) -> Field:
        read_value(name, MemberName, at, self.diagnostics)
        type_, more = self._entry(entry, FieldTable, at)
        required = more.get("required", required_by_default(type_))
        return Field(name=name, type=type_, required=required, description=more.get("description"))

    def _named(self, name: str) -> DataType | None:
        if name in self.being_read:
            chain = " > ".join([*self.being_read[self.being_read.index(name) :], name])
            raise UnusableNameError(f"a type cannot contain itself; the platform has no recursive types: {chain}")
        if name not in self.known and name in self.tables:
            if len(self.being_read) > MAX_DEPTH:
                raise UnusableNameError(f"types are nested more than {MAX_DEPTH} deep")
            self.being_read.append(name)
            self.known[name] = self._type(self.tables[name], ("types", name))
            self.being_read.pop()
        return self.known.get(name)

    def _range(self, type_: DataType, more: Mapping[str, Any], at: KeyPath) -> Range | None:
        ends = {end: more[end] for end in ("min", "max") if end in more}
        kind = range_kind(type_)
        if kind is None or not ends:
            for end in ends if type_ is not UNKNOWN else ():
                kinds = "integer, long, float, double, decimal, date and timestamp"
                self.diagnostics.add((*at, end), f"only the types {kinds} have a range")
            return None
        low, high = (self._bound(kind, ends, end, at) for end in ("min", "max"))
        range_ = Range(kind=kind, min=low, max=high)
        if range_.is_empty:
            self.diagnostics.add((*at, "max"), "expected no less than min")
        return range_

    def _bound(self, kind: RangeKind, ends: Mapping[str, Any], end: str, at: KeyPath) -> Bound | None:
        if end not in ends:
            return None
        bound = read_bound(kind, ends[end])
        if bound is None:
            self.diagnostics.add((*at, end), f"expected {describe_bound(kind)}, found {describe(ends[end])}")
        return bound


def _lacks_type(entry: object, shape: type[Struct]) -> bool:
    """Return whether a table that is not a struct is probably the long form without its type."""
    return isinstance(entry, dict) and entry.keys() <= {*shape.__struct_encode_fields__} and entry != {}
