"""Types in cm.toml: what a function takes and gives."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from cm_exec.config import Function
from cm_exec.config.load import parse_config
from cm_exec.datatypes import STRING, DecimalType, Field, ListType, OptionalType, SimpleType, StructType
from cm_exec.datatypes.syntax import parse_type
from cm_exec.errors import ConfigError
from cm_exec.protocol.function_schema import Bound, Input, Range, RangeKind, Returns

TYPE = 'expected a type, such as "string" or "list<integer>", or a table of a struct\'s fields'
BITS_53 = "expected an integer of 53 bits, the limit of the protocol for ranges"
INTEGER = SimpleType("integer")
POINT = StructType(
    (
        Field(name="x", type=INTEGER, required=True),
        Field(name="label", type=STRING, required=False, description="shown"),
    )
)


def function(text: str, *, types: str = "") -> Function:
    document = f'[functions.f]\ncommand = "cat"\n{text}\n{types}'
    return parse_config(document, path=Path("/srv/cm.toml")).functions["f"]


def mistakes(text: str, *, types: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        function(text, types=types)
    return [str(problem).removeprefix("functions.f.") for problem in caught.value.problems]


def test_no_declaration() -> None:
    """A function without declarations has no inputs, no return type and no checks."""
    plain = function("")
    assert (plain.inputs, plain.returns, plain.description) == (None, None, None)
    assert (plain.check_queries, plain.check_results) == (False, False)


def test_inputs() -> None:
    """Inputs keep the order of the file, and all but optional types are required."""
    assert function('inputs = { url = "string", width = "optional<integer>", tags = "list<string>" }').inputs == (
        Input(name="url", type=STRING, required=True),
        Input(name="width", type=OptionalType(INTEGER), required=False),
        Input(name="tags", type=ListType(STRING), required=True),
    )


def test_no_inputs_are_declared_too() -> None:
    assert function("inputs = {}").inputs == ()


def test_the_long_form_of_an_input_says_more() -> None:
    (each,) = (
        function(
            'inputs.width = { type = "integer", description = "in pixels", required = false, min = 1, max = 100 }'
        ).inputs
        or ()
    )
    assert each == Input(
        name="width",
        type=INTEGER,
        required=False,
        description="in pixels",
        range=Range(kind="integer", min=1, max=100),
    )


@pytest.mark.parametrize(
    ("text", "returns"),
    [
        ('returns = "binary"', Returns(type=SimpleType("binary"))),
        ('returns = "void"', Returns(type=None)),
        ('returns = { type = "void" }', Returns(type=None)),
        (
            'returns = { type = "list<date>", description = "days" }',
            Returns(type=parse_type("list<date>"), description="days"),
        ),
        ('returns = { x = "integer" }', Returns(type=parse_type("struct<x: integer>"))),
        ('returns = { type = { type = "string" } }', Returns(type=parse_type("struct<type: string>"))),
    ],
)
def test_returns_is_a_type_a_struct_or_void(text: str, returns: Returns) -> None:
    assert function(text).returns == returns


LONG_FORM = """
[types.Point]
x = "integer"
[types.Point.label]
type = "Text"
required = false
description = "shown"
[types]
Text = "string"
"""
STRUCT = '{ x = "integer", label = { type = "string", required = false, description = "shown" } }'


@pytest.mark.parametrize(
    ("inputs", "types"),
    [
        (f"inputs.p = {STRUCT}", ""),
        (f"inputs.p = {{ type = {STRUCT} }}", ""),
        ('inputs.p = "Point"', f"[types]\nPoint = {STRUCT}"),
        ('inputs.p = "Alias"', f'[types]\nAlias = "Point"\nPoint = {STRUCT}'),
        ('inputs.p = """struct<x: integer, label?: string "shown">"""', ""),
        (
            'inputs.p = "Point"',
            LONG_FORM,
        ),
    ],
)
def test_struct_inline_and_by_name(inputs: str, types: str) -> None:
    """A struct may be defined where it is used, or under a name."""
    assert function(inputs, types=types).inputs == (Input(name="p", type=POINT, required=True),)


def test_structs_nest() -> None:
    (box,) = function('inputs.box = { corner = { x = "integer" }, tags = "set<string>" }').inputs or ()
    assert box.type == parse_type("struct<corner: struct<x: integer>, tags: set<string>>")


def test_field_called_type() -> None:
    """A field may be called "type" wherever the long form of a type is not allowed."""
    (each,) = function('inputs.r = "Ref"', types='[types.Ref]\ntype = "string"\nid = "long"').inputs or ()
    assert each.type == parse_type("struct<type: string, id: long>")
    (each,) = function('inputs.r = { type = { type = "string", id = "long" } }').inputs or ()
    assert each.type == parse_type("struct<type: string, id: long>")


@pytest.mark.parametrize(
    ("kind", "type_", "low", "bound"),
    [
        ("integer", "integer", "-3", -3),
        ("integer", "optional<integer>", "-3", -3),
        ("long", "long", "9007199254740991", 2**53 - 1),
        ("float", "float", "0.5", 0.5),
        ("double", "double", "1", 1),
        ("decimal", "decimal(3, 1)", "0.1", Decimal("0.1")),
        ("decimal", "decimal(3, 1)", '"0.10"', Decimal("0.10")),
        ("date", "date", "1979-05-27", dt.date(1979, 5, 27)),
        ("date", "date", '"1979-05-27"', dt.date(1979, 5, 27)),
        ("timestamp", "timestamp", "1979-05-27T07:32:00Z", dt.datetime(1979, 5, 27, 7, 32, tzinfo=dt.UTC)),
        ("timestamp", "timestamp", '"1979-05-27T07:32:00Z"', dt.datetime(1979, 5, 27, 7, 32, tzinfo=dt.UTC)),
        ("timestamp", "timestamp", "0", dt.datetime(1970, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_a_range_is_in_the_terms_of_its_type(kind: RangeKind, type_: str, low: str, bound: Bound) -> None:
    (each,) = function(f'inputs.n = {{ type = "{type_}", min = {low} }}').inputs or ()
    assert each.range == Range(kind=kind, min=bound)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "inputs = 3",
            'inputs: expected a table of types, such as { url = "string", width = "optional<integer>" }, found 3',
        ),
        ("inputs.a = 3", f"inputs.a: {TYPE}, found 3"),
        ("inputs.a = []", f"inputs.a: {TYPE}, found an empty array"),
        ("inputs.a = {}", "inputs.a: expected the fields of a struct, found an empty table"),
        ('inputs."" = "string"', 'inputs."": expected a name: not empty, no control characters, found an empty string'),
        (
            'inputs.a = "lst<string>"',
            'inputs.a: unknown type "lst" in "lst<string>"; did you mean "list"?',
        ),
        ('inputs.a = "list<str>"', 'inputs.a: unknown type "str" in "list<str>"; did you mean "string"?'),
        (
            'inputs.a = "Integer"',
            'inputs.a: unknown type "Integer"; did you mean "integer"?',
        ),
        ('inputs.a = "xyz"', 'inputs.a: unknown type "xyz"'),
        (
            'inputs.a = "void"',
            'inputs.a: character 1 of "void": void is not the type of a value; only returns itself can be void',
        ),
        (
            'inputs.a = { b = { c = "strin" } }',
            'inputs.a.b.c: unknown type "strin"; did you mean "string"?',
        ),
        ("inputs.a = { type = 3 }", f"inputs.a.type: {TYPE}, found 3"),
        (
            'inputs.a = { type = "string", desciption = "x" }',
            "inputs.a.desciption: unknown key; did you mean description?",
        ),
        (
            'inputs.a = { type = "string", z = "x" }',
            "inputs.a.z: unknown key; the keys here are description, max, min, required, type",
        ),
        (
            'inputs.a = { b = { type = "string", min = 3 } }',
            "inputs.a.b.min: unknown key; the keys here are description, required, type",
        ),
        (
            'inputs.a = { type = "string", required = "no" }',
            'inputs.a.required: expected true or false, found "no"',
        ),
        (
            'inputs.a = { type = "string", description = " " }',
            'inputs.a.description: expected a text in quotes: not empty, no NUL, found " "',
        ),
        ('inputs.a = { description = "in pixels" }', f"inputs.a.type: {TYPE}, found nothing"),
        ("inputs.a = { required = false }", f"inputs.a.type: {TYPE}, found nothing"),
        (
            'inputs.a = { type = "string", min = 3 }',
            "inputs.a.min: only the types integer, long, float, double, decimal, date and timestamp have a range",
        ),
        ('inputs.a = { type = "integer", min = 5, max = 4 }', "inputs.a.max: expected no less than min"),
        ('inputs.a = { type = "integer", min = 1.0 }', "inputs.a.min: expected an integer of 32 bits, found 1.0"),
        (
            'inputs.a = { type = "integer", min = 2147483648 }',
            "inputs.a.min: expected an integer of 32 bits, found 2147483648",
        ),
        ('inputs.a = { type = "double", max = nan }', "inputs.a.max: expected a number, found nan"),
        (
            'inputs.a = { type = "decimal", max = "many" }',
            'inputs.a.max: expected a number, or a string with one such as "0.01", found "many"',
        ),
        (
            'inputs.a = { type = "date", max = "1979-02-30" }',
            'inputs.a.max: expected a date such as 1969-07-20, found "1979-02-30"',
        ),
        (
            'inputs.a = { type = "timestamp", max = 1979-05-27T07:32:00 }',
            "inputs.a.max: expected a time with an offset, such as 1969-07-20T20:17:40Z, found a date or time",
        ),
        (
            'inputs.a = { type = "long", max = 9007199254740992 }',
            f"inputs.a.max: {BITS_53}, found 9007199254740992",
        ),
        ("returns = true", f"returns: {TYPE}, found true"),
        ('returns = { type = "void", max = 3 }', "returns.max: unknown key; the keys here are description, type"),
        ('description = ""', "description: expected a text in quotes: not empty, no NUL, found an empty string"),
        ("check_queries = true", "check_queries: needs inputs, the types to check a query against"),
        ("check_results = true", "check_results: needs returns, the type to check a result against"),
        (
            'check_results = true\nstream = true\nreturns = "list<date>"',
            "check_results: cannot be combined with stream: a result is checked as a whole, before it is posted",
        ),
        ('check_queries = "yes"\ninputs = {}', 'check_queries: expected true or false, found "yes"'),
    ],
)
def test_wrong_type(text: str, message: str) -> None:
    """An error in a type is reported with its key and its character."""
    assert mistakes(text) == [message]


NAME = "expected a name of letters, digits and underscores that is not the name of a built-in type"
SELF = "a type cannot contain itself; the platform has no recursive types"


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ("types = 3", "types: expected a table of types, found 3"),
        ('types.string = "integer"', f'types.string: {NAME}, found "string"'),
        ('types."a b" = "integer"', f'types."a b": {NAME}, found "a b"'),
        ("types.A = 3", f"types.A: {TYPE}, found 3"),
        ('types.A = "B"', 'types.A: unknown type "B"'),
        (
            'types = { Pixel = "integer", B = "list<Pixl>" }',
            'types.B: unknown type "Pixl" in "list<Pixl>"; did you mean "Pixel"?',
        ),
        ('types.A = "A"', f'types.A: character 1 of "A": {SELF}: A > A'),
        (
            'types.Tree.children = "list<Tree>"',
            f'types.Tree.children: character 6 of "list<Tree>": {SELF}: Tree > Tree',
        ),
        (
            'types = { A = "list<B>", B = { x = "C" }, C = "optional<A>" }',
            f'types.C: character 10 of "optional<A>": {SELF}: A > B > C > A',
        ),
        (
            'types.A = "void"',
            'types.A: character 1 of "void": void is not the type of a value; only returns itself can be void',
        ),
    ],
)
def test_a_mistake_in_a_named_type_is_named_once(types: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f'{types}\n[functions.f]\ncommand = "cat"\ninputs = {{ a = "string" }}', path=Path("/srv/cm.toml"))
    assert [str(problem) for problem in caught.value.problems] == [message]


def test_use_of_a_broken_type() -> None:
    """A function that uses a wrong type is not a second error."""
    assert mistakes('inputs.a = "list<A>"\nreturns = "A"', types='[types]\nA = "strin"') == [
        'types.A: unknown type "strin"; did you mean "string"?'
    ]


def test_names_that_make_a_huge_type_are_refused() -> None:
    doubling = [f'T{i + 1} = {{ a = "T{i}", b = "T{i}" }}' for i in range(31)]
    found = mistakes("", types="\n".join(["[types]", 'T0 = "string"', *doubling]))
    assert found[0] == "types.T13: it has more than 10000 types, with all names resolved"


def test_a_long_chain_of_names_is_refused() -> None:
    chain = [f'T{i} = "list<T{i + 1}>"' for i in range(2000)]
    found = mistakes("", types="\n".join(["[types]", *chain, 'T2000 = "string"']))
    assert found[0] == 'types.T32: character 6 of "list<T33>": types are nested more than 32 deep'


def test_deeply_nested_tables() -> None:
    """Tables that are nested too deep are rejected."""
    keys = ".".join("a" * 200)
    assert mistakes(f'inputs.{keys} = "string"')[0].endswith("types are nested more than 32 deep")


def test_default_checks() -> None:
    """Default checks apply to the functions that declare types."""
    config = parse_config(
        "[defaults]\ncheck_queries = true\ncheck_results = true\n"
        '[functions]\nplain = "cat"\n[functions.typed]\ncommand = "cat"\ninputs.a = "string"',
        path=Path("/srv/cm.toml"),
    )
    assert config.functions["plain"].inputs is None
    assert config.functions["typed"].check_queries


@pytest.mark.parametrize("key", ["inputs", "returns", "description"])
def test_types_are_a_function_s_own(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f'defaults.{key} = "x"\nfunctions.f = "cat"', path=Path("/srv/cm.toml"))
    assert f"defaults.{key}: not known here, it belongs in [functions.NAME]" in str(caught.value)


def test_a_decimal_keeps_its_digits() -> None:
    (each,) = function('inputs.a = "decimal(12, 2)"').inputs or ()
    assert each.type == DecimalType(12, 2)
