"""Types of keys and words for them that several tables share."""

from typing import Annotated, Final

from msgspec import Meta

from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES

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
