"""Functions and types that were read from another description, and their text as a cm.toml."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct, field

from cm_exec.datatypes.syntax import member_text
from cm_exec.text import toml_key, toml_value


class DescriptionError(Exception):
    """Raised for a description that cannot be imported. Its text gives the reason."""


class Member(Struct, frozen=True, kw_only=True):
    """An input, or a field of a struct. `type` is text of the type syntax.

    `choice` has a value for the places in the type where not every value will do, see python_hints.
    """

    name: str
    type: str
    description: str | None = None
    required: bool | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None
    choice: Mapping[str, Any] | None = None


class DeclaredFunction(Struct, frozen=True, kw_only=True):
    """A function. `options` are further keys; without `command` and `service` it gets a placeholder."""

    name: str
    description: str | None = None
    inputs: tuple[Member, ...] | None = None
    returns: str | None = None
    returns_description: str | None = None
    edits: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class DeclaredService(Struct, frozen=True, kw_only=True):
    """A service. `comments` are lines above its keys."""

    name: str
    options: Mapping[str, Any]
    comments: tuple[str, ...] = ()


class Declarations(Struct, kw_only=True):
    """Everything in a description.

    `types` are type texts, or the fields of structs; `notes` describe what could not be imported.
    """

    services: list[DeclaredService] = field(default_factory=list)
    functions: list[DeclaredFunction] = field(default_factory=list)
    types: dict[str, str | tuple[Member, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


PLACEHOLDER: Final = ["./handler"]
"""The command of a function until the user sets it."""


def declarations_toml(declarations: Declarations) -> str:
    """Return the text of a cm.toml."""
    blocks: list[Iterable[str]] = [_service(service) for service in declarations.services]
    blocks += [_function(function) for function in declarations.functions]
    types = declarations.types.items()
    if names := [f"{toml_key(name)} = {toml_value(type_)}" for name, type_ in types if isinstance(type_, str)]:
        blocks.append(["[types]", *names])
    blocks += [
        [f"[types.{toml_key(name)}]", *map(_member, type_)] for name, type_ in types if not isinstance(type_, str)
    ]
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks)


def _service(service: DeclaredService) -> Iterator[str]:
    yield f"[services.{toml_key(service.name)}]"
    yield from (f"# {line}" for line in service.comments)
    yield from (f"{key} = {toml_value(value)}" for key, value in service.options.items())


def _function(function: DeclaredFunction) -> Iterator[str]:
    yield f"[functions.{toml_key(function.name)}]"
    if not function.options.keys() & {"command", "service"}:
        yield f"command = {toml_value(PLACEHOLDER)}  # replace it by the command that serves the function"
    yield from (f"{key} = {toml_value(value)}" for key, value in function.options.items())
    if function.description:
        yield f"description = {toml_value(function.description)}"
    if function.returns is not None:
        described = {"type": function.returns, "description": function.returns_description}
        yield f"returns = {toml_value(described if function.returns_description is not None else function.returns)}"
    if function.edits:
        yield f"edits = {toml_value(function.edits)}"
    if function.inputs is None:
        return
    if not function.inputs:
        yield "inputs = {}"
        return
    yield ""
    yield f"[functions.{toml_key(function.name)}.inputs]"
    yield from map(_member, function.inputs)


def _member(member: Member) -> str:
    more = {"description": member.description, "required": member.required, "min": member.min, "max": member.max}
    more = {key: value for key, value in more.items() if value is not None}
    return f"{toml_key(member.name)} = {toml_value({'type': member.type, **more} if more else member.type)}"


def struct_text(members: Iterable[Member]) -> str:
    """Return a struct in the type syntax."""
    return f"struct<{', '.join(member_text(each.name, each.type, each.description or None) for each in members)}>"
