"""Random data types and values of them, for Hypothesis."""

import json
from typing import Any

from hypothesis import strategies as st

from cm_exec.datatypes import (
    SIMPLE_NAMES,
    DataType,
    DecimalType,
    Field,
    ListType,
    MapType,
    OptionalType,
    SetType,
    SimpleType,
    StructType,
    required_by_default,
)

names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
odd_names = names | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=8)
descriptions = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
digits = st.none() | st.integers(1, 2**31 - 1)


@st.composite
def decimals(draw: st.DrawFn) -> DecimalType:
    precision = draw(digits)
    return DecimalType(precision, draw(st.none() | st.integers(0, 2**31 - 1 if precision is None else precision)))


def fields(types: st.SearchStrategy[DataType], *, plain: bool) -> st.SearchStrategy[StructType]:
    """Structs; plain ones have only fields that are required unless optional, and no descriptions."""

    @st.composite
    def struct(draw: st.DrawFn) -> StructType:
        chosen = draw(st.lists(names if plain else odd_names, min_size=1, max_size=4, unique=True))
        return StructType(tuple(draw(field(name)) for name in chosen))

    @st.composite
    def field(draw: st.DrawFn, name: str) -> Field:
        type_ = draw(types)
        required = required_by_default(type_) if plain else draw(st.booleans())
        return Field(name=name, type=type_, required=required, description=None if plain else draw(descriptions))

    return struct()


def compounds(
    types: st.SearchStrategy[DataType], keys: st.SearchStrategy[DataType], *, plain: bool
) -> st.SearchStrategy[DataType]:
    not_optional = types.filter(lambda type_: not isinstance(type_, OptionalType))
    return st.one_of(
        st.builds(ListType, types),
        st.builds(SetType, types),
        st.builds(OptionalType, not_optional),
        st.builds(MapType, keys, types),
        fields(types, plain=plain),
    )


simple = st.sampled_from([SimpleType(name) for name in SIMPLE_NAMES])
key_simple = simple.filter(lambda type_: type_.name not in {"ontologyEdit", "unknown"})

data_types: st.SearchStrategy[DataType] = st.recursive(
    simple | decimals(), lambda types: compounds(types, key_simple | decimals(), plain=False), max_leaves=12
)
"""Every type that cm.toml can say."""

sdk_keys: st.SearchStrategy[DataType] = key_simple | st.just(DecimalType())
sdk_types: st.SearchStrategy[DataType] = st.recursive(
    sdk_keys, lambda types: compounds(types, sdk_keys, plain=True), max_leaves=12
)
"""The types that the official Python SDK has hints for, besides ontology edits."""


def values(type_: DataType) -> st.SearchStrategy[Any]:
    """JSON values of the type."""
    match type_:
        case SimpleType(name):
            return _SIMPLE_VALUES[name]
        case DecimalType():
            return decimal_texts(type_)
        case ListType(element) | SetType(element):
            return st.lists(values(element), max_size=3)
        case MapType(key, value):
            return st.dictionaries(values(key).map(_key_text), values(value), max_size=3)
        case OptionalType(wrapped):
            return st.none() | values(wrapped)
        case StructType(members):
            required = {field.name: values(field.type) for field in members if field.required}
            optional = {field.name: st.none() | values(field.type) for field in members if not field.required}
            return st.fixed_dictionaries(required, optional=optional)


def decimal_texts(type_: DecimalType) -> st.SearchStrategy[str]:
    scale = min(type_.scale if type_.scale is not None else 5, 20)
    whole = min(type_.precision, 20) if type_.precision is not None else 20
    whole = whole - (type_.scale or 0) if type_.precision is not None else whole
    if type_.precision is not None:
        scale = min(scale, type_.precision - max(0, whole))
    fraction = st.text("0123456789", min_size=scale, max_size=scale)
    return st.builds(
        lambda sign, number, rest: f"{sign}{number}{f'.{rest}' if rest else ''}",
        st.sampled_from(["", "-"]),
        st.integers(0, 10 ** max(0, whole) - 1),
        fraction,
    )


def _key_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


_any_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_doubles = st.floats(allow_nan=False, allow_infinity=False)
_words = st.text(st.characters(codec="utf-8"), max_size=6)


def _bits(number: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (number - 1)), 2 ** (number - 1) - 1)


_SIMPLE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "byte": _bits(8) | _words,
    "short": _bits(16),
    "integer": _bits(32),
    "long": _bits(64) | _bits(64).map(str),
    "float": _doubles | _bits(32),
    "double": _doubles | st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    "string": _words,
    "binary": _words,
    "date": st.dates().map(lambda date: date.isoformat()),
    "timestamp": _bits(50) | st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    "ontologyEdit": _any_value,
    "unknown": _any_value,
}
