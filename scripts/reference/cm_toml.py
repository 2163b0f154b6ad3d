"""The reference of cm.toml, from the types that read the file and from its JSON Schema."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, UNSET, Struct

from cm_exec.cli.run import command as run
from cm_exec.config.checks import MODES_OF
from cm_exec.config.schema import (
    FieldTable,
    FunctionOptions,
    FunctionTable,
    FunctionTestTable,
    InputTable,
    LauncherTable,
    ReturnsTable,
)
from cm_exec.config.schema.json_schema import cm_toml_schema
from cm_exec.config.schema.key_spec import expectation
from scripts.reference.markdown import slug, table
from scripts.reference.toml import toml_value

_DEFINITIONS: Final = cm_toml_schema()["$defs"]
_VALUE: Final = re.compile(r"""(\{.*\}|\[.*\]|"[^"]*")""")
_WORD: Final = re.compile(
    r"(\[[a-z]*\]|\{.*\}|[a-z]+<[^ ]+>"  # [defaults], {jobId, query}, list<string>
    r"|[A-Z]+(?:_[A-Z]+)+|\b[a-z]+_[a-z]+\b|\bcm\.toml\b|(?<!\w)(?:true|false)(?=:))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, in words. `table` is where it stands; `example` is TOML; `more` are further facts, each with a label."""

    name: str
    table: str
    heading: str
    title: str
    description: str
    takes: str
    unless_said: str
    example: str
    more: tuple[tuple[str, str], ...]


def blocks() -> dict[str, str]:
    """The generated parts of the page."""
    functions, launcher, tests = list(function_keys()), list(launcher_keys()), list(test_keys())
    return {
        "functions-index": _index(functions),
        "functions": "\n".join(map(_section, functions)),
        "launcher-index": _index(launcher),
        "launcher": "\n".join(map(_section, launcher)),
        "tests-index": _index(tests),
        "tests": "\n".join(map(_section, tests)),
        "long-forms": _long_forms(),
    }


def function_keys() -> Iterator[Key]:
    """The keys of `[functions.NAME]`, the command first, and whether `[defaults]` has them too."""
    own = [name for name in FunctionTable.__struct_fields__ if name not in FunctionOptions.__struct_fields__]
    for name in [*own, *FunctionOptions.__struct_fields__]:
        places = "`[functions.NAME]`" + ("" if name in own else ", `[defaults]`")
        more = [("Stands in", places)]
        if name in MODES_OF:
            more.append(("Only with", " or ".join(f'`mode = "{mode}"`' for mode in MODES_OF[name])))
        yield _key(FunctionTable, name, table="[functions.NAME]", more=more)


def launcher_keys() -> Iterator[Key]:
    """The keys of `[launcher]`, with what takes precedence over each."""
    options = {option.name: option for option in run.params}
    for name in LauncherTable.__struct_fields__:
        option = options[name]
        before = f"the option `{option.opts[0]}`, then the variable `{option.envvar}`"
        yield _key(LauncherTable, name, table="[launcher]", more=[("Goes before it", before)])


def test_keys() -> Iterator[Key]:
    """The keys of `[[tests]]`."""
    for name in FunctionTestTable.__struct_fields__:
        yield _key(FunctionTestTable, name, table="[[tests]]")


def _key(shape: type[Struct], name: str, *, table: str, more: Iterable[tuple[str, str]] = ()) -> Key:
    (field,) = (field for field in msgspec.structs.fields(shape) if field.name == name)
    described = _DEFINITIONS[shape.__name__]["properties"].get(name) or _described(shape, name)
    expected = expectation(field.type)
    return Key(
        name=name,
        table=table,
        heading=name if table == "[functions.NAME]" else f"{table.strip('[]')}.{name}",
        title=described["title"],
        description=described["description"],
        takes=_VALUE.sub(r"`\1`", expected.words),
        unless_said=_unless_said(field, marked(expected.unless_said)),
        example="\n".join(f"{name} = {toml_value(example)}" for example in described["examples"]),
        more=tuple(more),
    )


def _described(shape: type[Struct], name: str) -> Mapping[str, Any]:
    """What the schema says of a key that it only refers to."""
    described: Mapping[str, Any] = msgspec.json.schema(shape)["$defs"][shape.__name__]["properties"][name]
    return described


def _unless_said(field: msgspec.structs.FieldInfo, words: str) -> str:
    if field.default_factory is not NODEFAULT:
        return f"`{toml_value(field.default_factory())}`"
    if field.default is NODEFAULT:
        return "it must be said"
    return words if field.default is UNSET else f"`{toml_value(field.default)}`"


def _index(keys: list[Key]) -> str:
    rows = ((f"[`{key.name}`](#{slug(key.heading)})", _first_sentence(key), key.unless_said) for key in keys)
    return table(["key", "what it is", "unless said"], rows)


def _first_sentence(key: Key) -> str:
    return marked(re.split(r"(?<=[a-z\]])\. ", key.description)[0].removesuffix("."))


def _section(key: Key) -> str:
    facts = [("Takes", key.takes), ("Unless said", key.unless_said), *key.more]
    lines = [f"### `{key.heading}`", "", marked(key.description), ""]
    lines += [f"- {label}: {text}" for label, text in facts]
    return "\n".join([*lines, "", "```toml", f"# {key.table}", key.example, "```", ""])


def marked(text: str) -> str:
    """The text with values, keys and variables as code; a type such as list<string> would else be taken for HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _WORD.sub(r"`\1`", part) for part in parts)


def _long_forms() -> str:
    shapes: list[tuple[str, type[Struct]]] = [
        ("An input", InputTable),
        ("A field of a struct", FieldTable),
        ("`returns`", ReturnsTable),
    ]
    rows = (
        (where, f"`{key.name}`", marked(key.description), key.unless_said, f"`{key.example}`")
        for where, shape in shapes
        for key in (_key(shape, name, table="") for name in shape.__struct_fields__)
    )
    return table(["of", "key", "what it is", "unless said", "example"], rows)
