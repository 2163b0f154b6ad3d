"""The little language of types: what it says, and where it says that something is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.datatypes import (
    MAX_SIZE,
    SIMPLE_NAMES,
    STRING,
    DataType,
    DecimalType,
    Field,
    ListType,
    MapType,
    OptionalType,
    SetType,
    SimpleType,
    StructType,
    size_problem,
)
from cm_exec.datatypes.syntax import BUILTIN_NAMES, TypeTextError, UnusableNameError, is_name, parse_type, type_text
from tests.support.data_types import data_types

INTEGER = SimpleType("integer")
POINT = StructType(
    (
        Field(name="x", type=INTEGER, required=True),
        Field(name="y", type=OptionalType(INTEGER), required=False),
    )
)


KEYS = "a map's keys are strings in JSON; use a simple type such as string, integer or date"


@pytest.mark.parametrize("name", SIMPLE_NAMES)
def test_a_simple_type_is_its_name(name: str) -> None:
    assert parse_type(name) == SimpleType(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("decimal", DecimalType()),
        ("decimal(10)", DecimalType(10)),
        ("decimal(10, 2)", DecimalType(10, 2)),
        ("decimal(10,0)", DecimalType(10, 0)),
        ("decimal(*, 2)", DecimalType(None, 2)),
        ("list<string>", ListType(STRING)),
        (" list\n<\tstring > ", ListType(STRING)),
        ("set<list<integer>>", SetType(ListType(INTEGER))),
        ("map<date, decimal(3, 1)>", MapType(SimpleType("date"), DecimalType(3, 1))),
        ("optional<string>", OptionalType(STRING)),
        ("list<optional<string>>", ListType(OptionalType(STRING))),
        ("struct<x: integer, y: optional<integer>>", POINT),
        ("struct<x!: integer, y?: optional<integer>>", POINT),
        (
            'struct<"a b"?: string "the \\"first\\"", größe!: optional<integer>>',
            StructType(
                (
                    Field(name="a b", type=STRING, required=False, description='the "first"'),
                    Field(name="größe", type=OptionalType(INTEGER), required=True),
                )
            ),
        ),
    ],
)
def test_a_text_is_read(text: str, type_: DataType) -> None:
    assert parse_type(text) == type_


@given(data_types)
def test_what_is_printed_is_read_as_the_same(type_: DataType) -> None:
    text = type_text(type_)
    assert parse_type(text) == type_
    assert type_text(parse_type(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'character 1 of "": expected a type, found the end'),
        ("  ", 'character 3 of "  ": expected a type, found the end'),
        ("list<strng>", 'unknown type "strng" in "list<strng>"'),
        ("int", 'unknown type "int"; did you mean "integer"?'),
        ("uint8", 'unknown type "uint8"'),
        ("map<str, Any>", 'unknown type "str" in "map<str, Any>"; did you mean "string"?'),
        ("list", 'character 5 of "list": expected < as in list<string>, found the end'),
        ("list[string]", 'character 5 of "list[string]": expected < as in list<string>, found ['),
        ("list<string", 'character 12 of "list<string": expected > to end list<, found the end'),
        ("list<string, date>", 'character 12 of "list<string, date>": expected > to end list<, found ,'),
        ("map<string>", 'character 11 of "map<string>": expected , and the type of the map\'s values, found >'),
        ("map<list<date>, date>", f'character 5 of "map<list<date>, date>": {KEYS}'),
        ("map<unknown, date>", f'character 5 of "map<unknown, date>": {KEYS}'),
        (
            "optional<optional<date>>",
            'character 1 of "optional<optional<date>>": an optional of an optional is the same as an optional',
        ),
        ("string x", 'character 8 of "string x": expected the end of the type, found x'),
        ("string?", 'character 7 of "string?": expected the end of the type, found ?'),
        ("string<3>", 'character 7 of "string<3>": string has no <...>'),
        ("decimal<3>", 'character 8 of "decimal<3>": decimal has no <...>; did you mean decimal(10, 2)?'),
        ("decimal()", 'character 9 of "decimal()": expected the precision, a number of digits, found )'),
        ("decimal(0)", 'character 9 of "decimal(0)": a decimal has 1 digit or more'),
        ("decimal(2, 3)", 'character 12 of "decimal(2, 3)": a decimal of 2 digits cannot have 3 after the point'),
        ("decimal(*)", 'character 10 of "decimal(*)": expected , and the scale, found )'),
        ("decimal(-1)", 'character 9 of "decimal(-1)": expected the precision, a number of digits, found -1'),
        (
            "decimal(2147483648)",
            'character 9 of "decimal(2147483648)": expected at most 2147483647 digits, the limit of the protocol',
        ),
        (
            f"decimal({'9' * 5000})",
            f'character 9 of "decimal({"9" * 30}…": expected at most 2147483647 digits, the limit of the protocol',
        ),
        ("struct<>", 'character 8 of "struct<>": expected the name of a field, found >'),
        ("struct<string>", 'character 14 of "struct<string>": expected : and the field\'s type, found >'),
        (
            "struct<a: date, a: date>",
            'character 17 of "struct<a: date, a: date>": the struct already has a field of this name',
        ),
        ('struct<"": date>', 'character 8 of "struct<\\"\\": date>": the text in quotes is empty'),
        ('struct<a: date "x>', 'character 16 of "struct<a: date \\"x>": the text in quotes has no end'),
        (
            'struct<a: date "\\x">',
            'character 16 of "struct<a: date \\"\\\\x\\">": the text in quotes has an escape that JSON does not have',
        ),
        ("list<void>", 'character 6 of "list<void>": void is not the type of a value; only returns itself can be void'),
        (
            "list<" * 40,
            f'character 161 of "…{"list<" * 12}…": types are nested more than 32 deep',
        ),
    ],
)
def test_a_mistake_is_shown_at_its_character(text: str, message: str) -> None:
    with pytest.raises(TypeTextError) as caught:
        parse_type(text)
    assert str(caught.value) == message


@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text('list<>map,()optinalstrucd"\\:?! 3*', max_size=40))
def test_any_text(text: str) -> None:
    """Any text is a type, or an error with a position in the text."""
    result = read_or_refused(text)
    if isinstance(result, TypeTextError):
        assert 0 <= result.position <= len(text)
        assert "\n" not in str(result)
    else:
        assert parse_type(type_text(result)) == result


def read_or_refused(text: str) -> DataType | TypeTextError:
    try:
        return parse_type(text)
    except TypeTextError as error:
        return error


def test_name() -> None:
    """A name is resolved, and an unknown name is reported."""
    named = {"Point": POINT}
    assert parse_type("list<Point>", named.get) == ListType(POINT)
    with pytest.raises(TypeTextError) as caught:
        parse_type("list<Pont>", named.get)
    assert caught.value.unknown == "Pont"
    with pytest.raises(TypeTextError, match=r"character 12 .*: Point has no <...>"):
        parse_type("list< Point<x>>", named.get)


def test_unusable_name() -> None:
    """A name that is not allowed at its position is reported with that position."""

    def resolve(name: str) -> DataType | None:
        raise UnusableNameError(f"{name} may not")

    with pytest.raises(TypeTextError, match=r'^character 6 of "list<Tree>": Tree may not$'):
        parse_type("list<Tree>", resolve)


@pytest.mark.parametrize("name", [*BUILTIN_NAMES, "void", "", "a b", "3d", "a-b", "a.b", "é\n"])
def test_a_name_that_would_not_be_read_is_none(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["Point", "point2", "_x", "String", "Größe"])
def test_valid_name(name: str) -> None:
    """A name consists of letters, digits and underscores."""
    assert is_name(name)


def test_a_type_has_an_end_to_its_depth_and_size() -> None:
    deep: DataType = STRING
    for _ in range(31):
        deep = ListType(deep)
    assert size_problem(deep) is None
    assert size_problem(ListType(deep)) == "types are nested more than 32 deep"
    wide: DataType = STRING
    for _ in range(12):
        wide = MapType(STRING, StructType(tuple(Field(name=n, type=wide, required=True) for n in "ab")))
    assert size_problem(wide) == f"it has more than {MAX_SIZE} types, with all names resolved"
