"""What a key takes: the types and the words that several tables share."""

from typing import Annotated, Final

from msgspec import Meta

from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES

MAX_SECONDS: Final = 604_800
"""A week. A replica lives 22 hours at most, and epoll takes no wait above 24 days."""

MAX_SLOTS: Final = 10_000
"""A slot is a thread: a number above this is a slip of the keyboard."""

_NO_NUL: Final = r"(?![\s\S]*\x00)"
_END: Final = r"$(?!\n)"  # Python's `$` alone would let a final newline pass


def expect(what: str, *, pattern: str | None = None, private: bool = False) -> Meta:
    """What an error says is expected. A private value may hold a secret, so that no error shows it."""
    return Meta(pattern=pattern, extra={"expected": what, "private": private})


def about(title: str, description: str, *, example: object, unless_said: str) -> Meta:
    """What the schema and the documentation say of a key without a default."""
    return Meta(title=title, description=description, examples=[example], extra={"unless_said": unless_said})


FunctionName = Annotated[
    str, expect("a function's name: not empty, no control characters", pattern=r"^[^\x00-\x1f\x7f]+" + _END)
]
ShellCommand = Annotated[
    str, expect("a command for /bin/sh: not empty, no NUL", pattern=rf"^{_NO_NUL}\s*\S", private=True)
]
Argument = Annotated[str, expect("a string in quotes, without NUL", pattern=rf"^{_NO_NUL}", private=True)]
Command = Annotated[
    ShellCommand | Annotated[tuple[Argument, ...], Meta(min_length=1)],
    expect('a command: a string for /bin/sh, or an array such as ["python3", "main.py"]', private=True),
    Meta(
        title="Command",
        description="A string is run by `/bin/sh -c`; an array of strings is executed as it stands, without a shell. A "
        "program with a `/` in its name is looked for from `cwd`, another one on `PATH`.",
        examples=["jq '. * 2'", ["python3", "main.py"]],
    ),
]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
Slots = Annotated[int, Meta(ge=1, le=MAX_SLOTS), expect(f"an integer from 1 to {MAX_SLOTS}")]
Size = Annotated[
    Annotated[int, Meta(ge=1)]
    | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,17} ?(B|KiB|MiB|GiB)" + _END, examples=["64MiB", "1GiB"])],
    expect('an integer of bytes, 1 or more, or a string such as "64MiB" (B, KiB, MiB or GiB)'),
]
_FREE: Final = Meta(extra_json_schema={"not": {"enum": sorted({*CONNECTION_VARIABLES, *JOB_VARIABLES})}})
VariableName = Annotated[
    str, expect("a variable's name: not empty, no = and no NUL", pattern=r"^[^=\x00]+" + _END), _FREE
]
InheritedName = Annotated[
    str, expect("a variable's whole name: not empty, no =, no wildcard", pattern=r"^[^=*?\s\x00]+" + _END), _FREE
]
VariableValue = Annotated[str, expect("a string in quotes, without NUL", pattern=rf"^{_NO_NUL}", private=True)]
Folder = Annotated[str, expect("a folder's path: not empty, no NUL", pattern=rf"^{_NO_NUL}[\s\S]")]
ServerName = Annotated[
    str, expect('a host name or IP address, such as "localhost"', pattern=r"^[A-Za-z0-9_.:-]+" + _END)
]
Flag = Annotated[bool, expect("true or false")]
Text = Annotated[str, expect("a text in quotes: not empty, no NUL", pattern=rf"^{_NO_NUL}\s*\S")]
MemberName = Annotated[str, expect("a name: not empty, no control characters", pattern=r"^[^\x00-\x1f\x7f]+" + _END)]
FilePath = Annotated[str, expect("a file's path: not empty, no NUL", pattern=rf"^{_NO_NUL}[\s\S]")]
JSON_WORDS: Final = "a value that JSON has"
TYPE_WORDS: Final = 'a type, such as "string" or "list<integer>", or a table of a struct\'s fields'
