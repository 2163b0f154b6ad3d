"""The reference of cm.toml, made from the types that read the file."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import NODEFAULT, UNSET, Struct

from cm_exec.cli.run import command as run
from cm_exec.config.checks import MODES_OF, PROTOCOLS_OF
from cm_exec.config.schema import FieldTable, FunctionTestTable, InputTable, LauncherTable, ReturnsTable
from cm_exec.config.schema.functions import FunctionOptions, FunctionTable, ServiceTable
from cm_exec.config.schema.keys import key_spec
from cm_exec.text import toml_value
from scripts.reference.markdown import slug, table

_VALUE: Final = re.compile(r"""(\{.*\}|\[.*\]|"[^"]*")""")
_WORD: Final = re.compile(
    r"(\[[a-z]*\]|\{.*\}|[a-z]+<[^ ]+>"  # [defaults], {jobId, query}, list<string>
    r"|[A-Z]+(?:_[A-Z]+)+|\b[a-z]+_[a-z]+\b|\bcm\.toml\b|(?<!\w)(?:true|false)(?=:))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, in words. `table` is where it is set; `example` is TOML; `more` are further facts, each with a label."""

    name: str
    table: str
    heading: str
    title: str
    description: str
    accepts: str
    default: str
    example: str
    more: tuple[tuple[str, str], ...]


def blocks() -> dict[str, str]:
    """Return the generated parts of the page."""
    functions, services = list(function_keys()), list(service_keys())
    launcher, tests = list(launcher_keys()), list(test_keys())
    shared = [key for key in functions if key.name in ServiceTable.__struct_fields__]
    return {
        "functions-index": _index(functions),
        "functions": "\n".join(map(_section, functions)),
        "services-index": _index([*services, *shared]),
        "services": "\n".join(map(_section, services)),
        "launcher-index": _index(launcher),
        "launcher": "\n".join(map(_section, launcher)),
        "tests-index": _index(tests),
        "tests": "\n".join(map(_section, tests)),
        "long-forms": _long_forms(),
    }


def _is_for_services(name: str) -> bool:
    return name in ServiceTable.__struct_fields__ and MODES_OF.get(name) == ("persistent",)


def function_keys() -> Iterator[Key]:
    """Yield the keys of functions, first those that only `[functions.NAME]` has."""
    own = [name for name in FunctionTable.__struct_fields__ if name not in FunctionOptions.__struct_fields__]
    options = [name for name in FunctionOptions.__struct_fields__ if name not in ServiceTable.__struct_fields__]
    shared = [name for name in FunctionOptions.__struct_fields__ if name in ServiceTable.__struct_fields__]
    for name in [*own, *options, *shared]:
        if not _is_for_services(name):
            yield _key(FunctionTable, name, table="[functions.NAME]", more=_facts(name))


def service_keys() -> Iterator[Key]:
    """Yield the keys that have a meaning for services only; a function with a service of its own has them too."""
    for name in ServiceTable.__struct_fields__:
        if _is_for_services(name):
            yield _key(ServiceTable, name, table="[services.NAME]", more=_facts(name))


def _facts(name: str) -> Iterator[tuple[str, str]]:
    shapes = {"[functions.NAME]": FunctionTable, "[services.NAME]": ServiceTable, "[defaults]": FunctionOptions}
    tables = [f"`{table}`" for table, shape in shapes.items() if name in shape.__struct_fields__]
    yield "Allowed in", ", ".join(tables)
    if name in MODES_OF and not _is_for_services(name):
        yield "Only with", " or ".join(f'`mode = "{mode}"`' for mode in MODES_OF[name])
    if name in PROTOCOLS_OF:
        yield "Only with", " or ".join(f'`protocol = "{protocol}"`' for protocol in PROTOCOLS_OF[name])


def launcher_keys() -> Iterator[Key]:
    """Yield the keys of `[launcher]`, with what overrides each."""
    options = {option.name: option for option in run.params}
    for name in LauncherTable.__struct_fields__:
        option = options[name]
        overridden = f"the option `{option.opts[0]}`, then the variable `{option.envvar}`"
        yield _key(LauncherTable, name, table="[launcher]", more=[("Overridden by", overridden)])


def test_keys() -> Iterator[Key]:
    """Yield the keys of `[[tests]]`."""
    for name in FunctionTestTable.__struct_fields__:
        yield _key(FunctionTestTable, name, table="[[tests]]")


def _key(shape: type[Struct], name: str, *, table: str, more: Iterable[tuple[str, str]] = ()) -> Key:
    (field,) = (field for field in msgspec.structs.fields(shape) if field.name == name)
    spec = key_spec(field.type)
    is_plain = table in {"[functions.NAME]", "[services.NAME]"}
    return Key(
        name=name,
        table=table,
        heading=name if is_plain else f"{table.strip('[]')}.{name}",
        title=spec.title,
        description=spec.description,
        accepts=_VALUE.sub(r"`\1`", spec.words),
        default=_default(field, marked(spec.default_text)),
        example="\n".join(f"{name} = {toml_value(example)}" for example in spec.examples),
        more=tuple(more),
    )


def _default(field: msgspec.structs.FieldInfo, words: str) -> str:
    if field.default_factory is not NODEFAULT:
        return f"`{toml_value(field.default_factory())}`"
    if field.default is NODEFAULT:
        return "required"
    if field.default is UNSET:
        return words
    default = field.default
    return f"`{default:g}`" if isinstance(default, float) else f"`{toml_value(default)}`"


def _index(keys: list[Key]) -> str:
    rows = ((f"[`{key.name}`](#{slug(key.heading)})", _first_sentence(key), key.default) for key in keys)
    return table(["key", "what it is", "default"], rows)


def _first_sentence(key: Key) -> str:
    return marked(re.split(r"(?<=[a-z\]`])\. ", key.description)[0].removesuffix("."))


def _section(key: Key) -> str:
    facts = [("Accepts", key.accepts), ("Default", key.default), *key.more]
    lines = [f"### `{key.heading}`", "", marked(key.description), ""]
    lines += [f"- {label}: {text}" for label, text in facts]
    return "\n".join([*lines, "", "```toml", f"# {key.table}", key.example, "```", ""])


def marked(text: str) -> str:
    """Mark values, keys and variables in a text as code; list<string> would otherwise be read as HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _WORD.sub(r"`\1`", part) for part in parts)


def _long_forms() -> str:
    shapes: list[tuple[str, type[Struct]]] = [
        ("An input", InputTable),
        ("A field of a struct", FieldTable),
        ("`returns`", ReturnsTable),
    ]
    rows = (
        (where, f"`{key.name}`", marked(key.description), key.default, f"`{key.example}`")
        for where, shape in shapes
        for key in (_key(shape, name, table="") for name in shape.__struct_fields__)
    )
    return table(["of", "key", "what it is", "default", "example"], rows)
