"""What a key's type cannot say: the variables that no cm.toml may name, and a command that has no program."""

from collections.abc import Iterator

from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES

Broken = Iterator[tuple[str | int, str]]
"""Where inside the value a rule is broken, as a name or an index, and what to say of it."""


def broken_rules(key: str, value: object) -> Broken:
    """Look at a value as it stands in the file, so that a wrong type beside it hides nothing."""
    match key, value:
        case "command", [str(program), *_] if not program.strip():
            yield 0, "expected a program, found a blank string"
        case "env", dict():
            yield from _reserved((name, name) for name in value)
        case "inherit_env", list():
            yield from _reserved((index, name) for index, name in enumerate(value) if isinstance(name, str))


def _reserved(places: Iterator[tuple[str | int, str]]) -> Broken:
    for place, name in places:
        if name in CONNECTION_VARIABLES:
            yield place, f"{name} belongs to the connection with the runtime and never reaches a handler"
        elif name in JOB_VARIABLES:
            yield place, f"{name} is set by cm-exec for each job"
