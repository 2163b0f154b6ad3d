"""Print the schemas of typed Python functions; a script that runs in the interpreter of their author.

usage: python_hints.py MODULE[:FUNCTION]

It imports nothing but the standard library and the module, and works on Python 3.9 and later. Types are read as the
official Python SDK reads them; a type that the SDK refuses (an enum, a literal, a tuple of one type) is read by its
plain meaning. The answer is the JSON array for POST schemas; for a whole module an object with this array as
"functions", and with "notes" on functions that have no schema. An input has also a "choice" if its type has few values,
and an output is "hinted" or not. If there is no answer, the exit code is 3, and the last line on stderr gives the
reason.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import importlib
import inspect
import json
import os
import sys
import traceback
import typing
from typing import Any

SIMPLE = {
    bool: "boolean",
    int: "integer",
    float: "float",
    str: "string",
    bytes: "binary",
    dt.date: "date",
    dt.datetime: "timestamp",
    decimal.Decimal: "decimal",
    Any: "unknown",
}
OF_SDK = {"Byte": "byte", "Short": "short", "Long": "long", "Double": "double"}
ARRAYS = {
    list: "list",
    tuple: "list",
    collections.abc.Iterable: "list",
    collections.abc.Iterator: "list",
    collections.abc.Generator: "list",
    collections.abc.Sequence: "list",
    set: "set",
    frozenset: "set",
    collections.abc.Set: "set",
}
TWO = 2
ONTOLOGY_EDITS = {"AddObject", "ModifyObject", "DeleteObject", "AddLink", "RemoveLink"}
"""The union `OntologyEdit` of the Foundry SDK has these classes."""

MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


INSTEAD = {
    "pandas": "a list of dataclasses, one for each row",
    "polars": "a list of dataclasses, one for each row",
    "pyarrow": "a list of dataclasses, one for each row",
    "numpy": "list[float], or a list of lists",
    "torch": "list[float], or a list of lists",
    "PIL": "bytes",
    "pathlib": "str",
    "uuid": "str",
    "datetime": "str, or a number of seconds",
}
"""Types without a counterpart by their package, with a type to use instead."""

TYPES_INSTEAD = "a dataclass, a TypedDict, list, dict, str, int, float, bool, bytes, date, datetime or Decimal"


class NoTypeError(Exception):
    """Raised for a hint without a counterpart among the platform's types."""


def no_counterpart(hint: Any) -> NoTypeError:
    """Describe a hint without a counterpart, with a type to use instead."""
    if (typing.get_origin(hint) or hint) in {*ARRAYS, *MAPS} and not typing.get_args(hint):
        return NoTypeError(
            f"{name_of(hint)} lacks the types of what is in it; write list[str] or dict[str, float], say"
        )
    package = getattr(hint, "__module__", "").partition(".")[0]
    name = name_of(hint) if package in {"", "builtins", "types", "typing"} else f"{package}.{name_of(hint)}"
    return NoTypeError(f"{name} has no counterpart among Foundry's types; use {INSTEAD.get(package, TYPES_INSTEAD)}")


def tagged(name: str, **body: Any) -> dict[str, Any]:
    """Return a type of the protocol, which is a tagged union."""
    return {"type": name, name: body}


def data_type(hint: Any, inside: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return the protocol's type for a hint. Raises NoTypeError."""
    if hint in inside:
        raise NoTypeError(f"{name_of(hint)} contains itself, which no type of the platform can")
    if hasattr(hint, "__supertype__"):
        name = OF_SDK.get(hint.__name__)
        return tagged(name) if name else data_type(bare(hint.__supertype__), inside)
    if isinstance(hint, collections.abc.Hashable) and hint in SIMPLE:
        return tagged(SIMPLE[hint])
    return of_generic(hint, inside) or of_class(hint, inside)


def of_generic(hint: Any, inside: tuple[Any, ...]) -> dict[str, Any] | None:  # noqa: PLR0911 - one per kind of hint
    """Return the type of a hint with arguments, None for another hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        values = tuple(value for value in arguments if value is not None)
        of_value = of_values(values)
        return of_value if values == arguments else tagged("optionalType", wrappedType=of_value)
    if {getattr(argument, "__name__", None) for argument in arguments} >= ONTOLOGY_EDITS:
        return tagged("ontologyEdit")
    if origin in ARRAYS and arguments:
        if origin is tuple and arguments[1:] != (Ellipsis,):
            raise NoTypeError(f"{name_of(hint)}: the platform has no tuples")
        return tagged(ARRAYS[origin], elementsType=data_type(arguments[0], inside))
    if len(arguments) != TWO:
        return None
    if type(None) in arguments:
        wrapped = next(argument for argument in arguments if argument is not type(None))
        return tagged("optionalType", wrappedType=data_type(wrapped, inside))
    if origin in MAPS:
        key, value = (data_type(argument, inside) for argument in arguments)
        return tagged("map", keysType=key, valuesType=value)
    return None


def of_values(values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the type of an enum's or a literal's values. Raises NoTypeError."""
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds & SIMPLE.keys():
        raise NoTypeError("the values of a literal or an enum are of one simple type")
    return tagged(SIMPLE[kinds.pop()])


def of_class(hint: Any, inside: tuple[Any, ...]) -> dict[str, Any]:
    """Return the type of a class: that of an enum's values, or a struct of its fields. Raises NoTypeError."""
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return of_values(tuple(member.value for member in hint))
    foreign = getattr(hint, "__module__", "").partition(".")[0] in INSTEAD
    fields = {} if foreign else fields_of(hint)
    if not fields:
        raise no_counterpart(hint)
    types = {name: data_type(inner, (*inside, hint)) for name, inner in fields.items()}
    required = {name: not has_default(hint, name) for name in fields}
    if all(needed is (types[name]["type"] != "optionalType") for name, needed in required.items()):
        return tagged("anonymousCustomType", fields=types)
    metadata = {name: {"required": needed} for name, needed in required.items()}
    return tagged("anonymousCustomType", fields=types, fieldMetadata=metadata)


def choice(hint: Any, inside: tuple[Any, ...] = ()) -> dict[str, Any] | None:
    """Return a value of the enums and literals in a type, and where they are; None for a type without them."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"value": next(value for value in arguments if value is not None)}
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return {"value": next(iter(hint)).value}
    if origin in ARRAYS or origin in MAPS:
        parts = {"elements": choice(arguments[-1 if origin in MAPS else 0], inside)}
        if origin in MAPS:
            parts["keys"] = choice(arguments[0], inside)
        return {name: inner for name, inner in parts.items() if inner} or None
    if type(None) in arguments:
        return choice(next(argument for argument in arguments if argument is not type(None)), inside)
    if hint in inside:
        return None
    found_choices = {name: choice(inner, (*inside, hint)) for name, inner in fields_of(hint).items()}
    fields = {name: inner for name, inner in found_choices.items() if inner}
    return {"fields": fields} if fields else None


def fields_of(hint: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, a TypedDict or another class with hints; none for other hints."""
    if not inspect.isclass(hint) or hint.__module__ == "builtins":
        return {}
    hints = hints_of(hint)
    return {name: inner for name, inner in hints.items() if typing.get_origin(inner) is not typing.ClassVar}


def hints_of(owner: Any) -> dict[str, Any]:
    """Return the hints of a function or class. Raises NoTypeError."""
    try:
        return {name: bare(hint) for name, hint in typing.get_type_hints(owner).items()}
    except (NameError, TypeError) as error:
        raise NoTypeError(f"the hints of {name_of(owner)} cannot be read: {error}") from None


def bare(hint: Any) -> Any:
    """Return a hint without NotRequired, Required and the like."""
    return typing.get_args(hint)[0] if qualifier(hint) in {"NotRequired", "Required", "ReadOnly", "Annotated"} else hint


def qualifier(hint: Any) -> str:
    """Return the name of what is around a hint, such as NotRequired; for Annotated that is a class."""
    return str(typing.get_origin(hint)).rpartition(".")[2].rstrip("'>")


def has_default(owner: Any, name: str) -> bool:
    """Return whether a field may be left out. A dataclass computes a field without `init` by itself."""
    if issubclass(owner, dict):
        # with `from __future__ import annotations` the class does not know what is required
        hint = typing.get_type_hints(owner, include_extras=True)[name]
        optional = name in getattr(owner, "__optional_keys__", ())
        return {"NotRequired": True, "Required": False}.get(qualifier(hint), optional)
    if dataclasses.is_dataclass(owner) and any(
        each.name == name and not each.init for each in dataclasses.fields(owner)
    ):
        return True
    parameter = inspect.signature(owner).parameters.get(name)
    return parameter is not None and parameter.default is not inspect.Parameter.empty


def schema(value: Any, name: str) -> dict[str, Any]:
    """Return the schema of one function, which may be decorated. Raises NoTypeError."""
    function = inspect.unwrap(value)
    hints = hints_of(function)
    hinted = "return" in hints
    returns = hints.pop("return", str)
    try:
        result = None if returns is type(None) else data_type(returns)
    except NoTypeError as error:
        raise NoTypeError(f"the result: {error}") from None
    output = {"type": "void", "void": {}} if result is None else {"type": "single", "single": {"dataType": result}}
    return {
        "functionName": name,
        "inputs": inputs(function, hints),
        "output": {**output, "hinted": hinted},
        "ontologyProvenance": provenance(getattr(value, "edits", None)),
    }


def provenance(edits: Any) -> dict[str, Any] | None:
    """Return what `@function(edits=[...])` of the official SDK declares, with the API names of the object types."""
    names = [edit.api_name() for edit in edits or () if callable(getattr(edit, "api_name", None))]
    return {"editedObjects": {name: {} for name in names}, "editedLinks": {}} if names else None


def inputs(function: Any, hints: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return an input per parameter, or per field of the only parameter; the SDK's `context` is no input.

    Return None for the SDK's `(context, event)` with an untyped event: it is the whole query.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name != "context"}
    if len(parameters) == 1:
        (only,) = parameters
        event = hints.get(only)
        if event in (None, dict, Any) and "context" in inspect.signature(function).parameters:
            return None
        if event is not None and fields_of(event):
            return [one_input(name, inner, not has_default(event, name)) for name, inner in fields_of(event).items()]
    for name, parameter in parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise NoTypeError(f"{name}: inputs have names, so that * and ** cannot be one")
    return [one_input(name, hints.get(name, Any), p.default is p.empty) for name, p in parameters.items()]


def one_input(name: str, hint: Any, required: bool) -> dict[str, Any]:
    """Return an input. Raises NoTypeError."""
    try:
        type_ = data_type(hint)
    except NoTypeError as error:
        raise NoTypeError(f"{name}: {error}") from None
    of_few = choice(hint)
    more = {"choice": of_few} if of_few else {}
    return {"name": name, "required": required, "constraints": [], "dataType": type_, **more}


def name_of(hint: Any) -> str:
    """Return the name of a hint for error messages."""
    return getattr(hint, "__qualname__", None) or str(hint)


def found(module: Any, name: str) -> Any:
    """Return the function of this name, which may have dots. Raises AttributeError."""
    function = module
    for part in name.split("."):
        function = getattr(function, part)
    return function


def of_module(module: Any) -> dict[str, Any]:
    """Return the schemas of all public functions that the module defines, and a note on each without a schema."""
    schemas, notes = [], []
    for name in getattr(module, "__all__", None) or list(vars(module)):
        value = getattr(module, name)
        function = inspect.unwrap(value) if callable(value) else None
        if name.startswith("_") or not inspect.isfunction(function) or function.__module__ != module.__name__:
            continue
        try:
            schemas.append(schema(value, name))
        except NoTypeError as error:
            notes.append(f"the function {name} is left out: {error}")
    if not schemas:
        raise NoTypeError("; ".join([f"{module.__name__} has no function that can be served", *notes]))
    return {"functions": schemas, "notes": notes}


def imported(module: str) -> Any:
    """Return the module. Raises NoTypeError if its import fails in any way."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise NoTypeError(str(error)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}, line {place.lineno}"
        raise NoTypeError(f"{module} cannot be imported: {type(error).__name__}: {error} ({where})") from None


def main(target: str) -> int:
    """Print the schemas, or the reason why there are none, and return the exit code."""
    module_name, colon, name = target.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a string is what sys.path takes
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a module may print when it is imported
            module = imported(module_name)
        answer: Any = [schema(found(module, name), name.rpartition(".")[2])] if colon else of_module(module)
        print(json.dumps(answer))
    except (NoTypeError, AttributeError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the official SDK starts its worker when the interpreter exits
