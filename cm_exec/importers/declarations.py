"""Functions and types on their way from another description to cm.toml."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct, field

from cm_exec.datatypes.syntax import NAME


class DescriptionError(Exception):
    """A description that cannot be taken over. Its text says why."""


class Member(Struct, frozen=True, kw_only=True):
    """An input, or a field of a struct. `type` is text of the little language."""

    name: str
    type: str
    description: str | None = None
    required: bool | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None


class DeclaredFunction(Struct, frozen=True, kw_only=True):
    """A function. `options` are its keys besides the types; without a `command` one stands in for it."""

    name: str
    description: str | None = None
    inputs: tuple[Member, ...] | None = None
    returns: str | None = None
    returns_description: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Declarations(Struct, kw_only=True):
    """All of a description. `types` are texts, or the fields of structs; `notes` is what could not be taken over."""

    functions: list[DeclaredFunction] = field(default_factory=list)
    types: dict[str, str | tuple[Member, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


COMMAND: Final = ["./handler"]
"""What stands in a new block until somebody says what serves the function."""


def declarations_toml(declarations: Declarations) -> str:
    """The `[functions]` and `[types]` of a cm.toml."""
    names = {name: type_ for name, type_ in declarations.types.items() if isinstance(type_, str)}
    blocks = [_function(function) for function in declarations.functions]
    if names:
        blocks.append(_aliases(names))
    blocks += [_struct(name, type_) for name, type_ in declarations.types.items() if not isinstance(type_, str)]
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def _function(function: DeclaredFunction) -> Iterator[str]:
    yield f"[functions.{toml_key(function.name)}]"
    if not {"command", "service"} & function.options.keys():
        yield f"command = {toml_value(COMMAND)}  # say here what serves it"
    yield from (f"{key} = {toml_value(value)}" for key, value in function.options.items())
    if function.description:
        yield f"description = {toml_value(function.description)}"
    if function.returns is not None:
        yield f"returns = {_returns(function.returns, function.returns_description)}"
    if function.inputs is None:
        return
    if not function.inputs:
        yield "inputs = {}"
        return
    yield ""
    yield f"[functions.{toml_key(function.name)}.inputs]"
    yield from map(_member, function.inputs)


def _returns(type_: str, description: str | None) -> str:
    if description is None:
        return toml_value(type_)
    return f"{{ type = {toml_value(type_)}, description = {toml_value(description)} }}"


def _aliases(types: Mapping[str, str]) -> Iterator[str]:
    yield "[types]"
    yield from (f"{toml_key(name)} = {toml_value(type_)}" for name, type_ in types.items())


def _struct(name: str, members: tuple[Member, ...]) -> Iterator[str]:
    yield f"[types.{toml_key(name)}]"
    yield from map(_member, members)


def _member(member: Member) -> str:
    more = {"description": member.description, "required": member.required, "min": member.min, "max": member.max}
    said = {key: value for key, value in more.items() if value is not None}
    if not said:
        return f"{toml_key(member.name)} = {toml_value(member.type)}"
    pairs = ", ".join(f"{key} = {toml_value(value)}" for key, value in {"type": member.type, **said}.items())
    return f"{toml_key(member.name)} = {{ {pairs} }}"


_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """A name as a key of TOML."""
    return name if _BARE.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """A string, number, boolean or array in TOML: JSON's texts, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def struct_text(members: Iterable[Member]) -> str:
    """A struct in the little language."""
    return f"struct<{', '.join(map(_field_text, members))}>"


def _field_text(member: Member) -> str:
    name = member.name if NAME.fullmatch(member.name) else json.dumps(member.name, ensure_ascii=False)
    description = f" {json.dumps(member.description, ensure_ascii=False)}" if member.description else ""
    return f"{name}: {member.type}{description}"
