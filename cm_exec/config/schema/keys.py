"""Types of keys and words for them that several tables share, and what a key accepts, read from its type."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES
from cm_exec.text import quoted


class KeySpec(Struct, frozen=True, kw_only=True):
    """What a key accepts: in words, and if it accepts only certain strings, these.

    `types` are the plain types of its alternatives. `item` is the type of an array's items and `entry` the types of a
    table's keys and values, None if the key accepts no array or no table. The value of a `private` key may be a secret.
    `title`, `description` and `examples` are its documentation. `default_text` describes the default of a key whose
    default is no fixed value; it is empty for other keys.
    """

    words: str
    types: tuple[Any, ...]
    private: bool
    choices: tuple[str, ...]
    item: Any
    entry: tuple[Any, Any] | None
    title: str
    description: str
    examples: tuple[Any, ...]
    default_text: str


def key_spec(expected: Any) -> KeySpec:
    """Read the type of a key. Raises KeyError for a type without a hint, which is a bug in the schema."""
    alternatives = [_plain(arm) for arm in _arms(expected)]
    metas = _metas(expected)
    extra = {key: value for meta in metas for key, value in (meta.extra or {}).items()}
    choices = next(filter(None, map(_choices, alternatives)), ())
    return KeySpec(
        words=extra.get("expected") or _either(choices) if choices else extra["expected"],
        types=tuple(alternatives),
        private=extra.get("private", False),
        choices=choices,
        item=next((get_args(arm)[0] for arm in alternatives if get_origin(arm) is tuple), None),
        entry=next((_pair(arm) for arm in alternatives if get_origin(arm) is Mapping), None),
        title=next((meta.title for meta in reversed(metas) if meta.title), ""),
        description=next((meta.description for meta in reversed(metas) if meta.description), ""),
        examples=next((tuple(meta.examples) for meta in reversed(metas) if meta.examples), ()),
        default_text=extra.get("default_text", ""),
    )


def converted(value: object, expected: Any) -> Any:
    """Convert a value to the type of its key. Raises ValueError if it does not fit.

    msgspec gets one alternative at a time: for the union of a string with a pattern and an array or table it reads the
    pattern from the wrong place and crashes (0.22.0).
    """
    for alternative in _arms(expected):
        try:
            result = msgspec.convert(value, alternative)
            patterns = [meta.extra["pattern"] for meta in _metas(alternative) if meta.extra and "pattern" in meta.extra]
            if all(re.search(pattern, result) for pattern in patterns):
                return result
        except (msgspec.ValidationError, SystemError):  # SystemError: 10**400 as a float, before msgspec 0.22
            continue
    raise ValueError("no alternative fits")


def _pair(mapping: Any) -> tuple[Any, Any]:
    key, value = get_args(mapping)
    return key, value


def _choices(alternative: Any) -> tuple[str, ...]:
    values = get_args(alternative) if get_origin(alternative) is Literal else ()
    return tuple(value for value in values if isinstance(value, str))


def _plain(expected: Any) -> Any:
    return get_args(expected)[0] if get_origin(expected) is Annotated else expected


def _arms(expected: Any) -> list[Any]:
    """Return the alternatives of a type, without the mark of an optional key."""
    members = _members(expected)
    return [inner for member in members for inner in _arms(member)] if members else [expected]


def _members(expected: Any) -> list[Any]:
    """Return what a union consists of, without the mark of an optional key; nothing for another type."""
    plain = _plain(expected)
    return [m for m in get_args(plain) if m is not UnsetType] if get_origin(plain) in {Union, UnionType} else []


def _metas(expected: Any) -> list[Meta]:
    """Return the annotations of a type, the outermost last; those of several alternatives only if it has none."""
    own = [meta for meta in getattr(expected, "__metadata__", ()) if isinstance(meta, Meta)]
    members = _members(expected)
    return own if own and len(members) > 1 else [*(meta for m in members for meta in _metas(m)), *own]


def _either(choices: tuple[str, ...]) -> str:
    *most, last = map(quoted, choices)
    return f"{', '.join(most)} or {last}" if most else last


MAX_SECONDS: Final = 604_800
"""A week. A replica lives for 22 hours at most, and epoll accepts no wait above 24 days."""

MAX_SLOTS: Final = 10_000
"""A larger number is a typing error."""

_NO_NUL: Final = r"(?![\s\S]*\x00)"
_END: Final = r"$(?!\n)"  # Python's `$` alone accepts a final newline


def key_hint(what: str, *, pattern: str | None = None, private: bool = False) -> Meta:
    """Return what an error message says is expected. No error shows the value of a private key: it may be a secret."""
    return Meta(pattern=pattern, extra={"expected": what, "private": private})


def key_doc(title: str, description: str, *examples: object, default_text: str = "") -> Meta:
    """Return what the JSON Schema and the documentation say about a key.

    `default_text` describes the default of a key whose default is no fixed value.
    """
    return Meta(title=title, description=description, examples=list(examples), extra={"default_text": default_text})


FunctionName = Annotated[
    str, key_hint("a name: not empty, no control characters", pattern=r"^[^\x00-\x1f\x7f]+" + _END)
]
MemberName = FunctionName
_NOT_BLANK: Final = rf"^{_NO_NUL}\s*\S"
ShellCommand = Annotated[
    str,
    # not as msgspec's own pattern: with one in the union with a tuple, it reads it from the wrong place and crashes
    Meta(
        extra={"expected": "a command for /bin/sh: not empty, no NUL", "private": True, "pattern": _NOT_BLANK},
        extra_json_schema={"pattern": _NOT_BLANK},
    ),
]
Argument = Annotated[str, key_hint("a string in quotes, without NUL", pattern=rf"^{_NO_NUL}", private=True)]
Command = Annotated[
    ShellCommand | Annotated[tuple[Argument, ...], Meta(min_length=1)],
    key_hint('a command: a string for /bin/sh, or an array such as ["python3", "main.py"]', private=True),
]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
TimeLimit = Annotated[Seconds, key_hint(f"a number of seconds from 0 to {MAX_SECONDS} (0 is no limit)")]
Slots = Annotated[int, Meta(ge=1, le=MAX_SLOTS), key_hint(f"an integer from 1 to {MAX_SLOTS}")]
Count = Annotated[int, Meta(ge=1), key_hint("an integer, 1 or more")]
Size = Annotated[
    Annotated[int, Meta(ge=1)]
    | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,17} ?(B|KiB|MiB|GiB)" + _END, examples=["64MiB", "1GiB"])],
    key_hint('an integer of bytes, 1 or more, or a string such as "64MiB" (B, KiB, MiB or GiB)'),
]
_NOT_RESERVED: Final = Meta(extra_json_schema={"not": {"enum": sorted({*CONNECTION_VARIABLES, *JOB_VARIABLES})}})
VariableName = Annotated[
    str, key_hint("a variable's name: not empty, no = and no NUL", pattern=r"^[^=\x00]+" + _END), _NOT_RESERVED
]
InheritedName = Annotated[
    str,
    key_hint("a variable's whole name: not empty, no =, no wildcard", pattern=r"^[^=*?\s\x00]+" + _END),
    _NOT_RESERVED,
]
VariableValue = Annotated[str, key_hint("a string in quotes, without NUL", pattern=rf"^{_NO_NUL}", private=True)]
Folder = Annotated[str, key_hint("a folder's path: not empty, no NUL", pattern=rf"^{_NO_NUL}[\s\S]")]
ServerName = Annotated[
    str, key_hint('a host name or IP address, such as "localhost"', pattern=r"^[A-Za-z0-9_.:-]+" + _END)
]
ServerUrl = Annotated[
    str,
    key_hint(
        'the URL of a server in this container or replica: "http://127.0.0.1:PORT" or "unix:/PATH"',
        pattern=r"^(http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?/?|unix:/[^\x00]+)" + _END,
    ),
]
HttpRequest = Annotated[
    str,
    key_hint(
        'a method and a path, such as "POST /classify" or "GET /items/{id}"',
        pattern=r"^(GET|POST|PUT|PATCH|DELETE) /([A-Za-z0-9._~!$&'()*+,;=:@%/-]|\{[^{}/\x00-\x1f\x7f]+\})*" + _END,
    ),
]
Readiness = Annotated[
    str, key_hint('"read", "message", or with protocol = "http" a path', pattern=r"^(read|message|/[!-~]*)" + _END)
]
Flag = Annotated[bool, key_hint("true or false")]
Text = Annotated[str, key_hint("a text in quotes: not empty, no NUL", pattern=_NOT_BLANK)]
FilePath = Annotated[str, key_hint("a file's path: not empty, no NUL", pattern=rf"^{_NO_NUL}[\s\S]")]
JSON_WORDS: Final = "a value that JSON has"
TYPE_WORDS: Final = 'a type, such as "string" or "list<integer>", or a table of a struct\'s fields'
