"""cm.toml texts for tests."""

from collections.abc import Sequence

from cm_exec.text import toml_key, toml_value


def function(name: str, command: str | Sequence[str], **options: object) -> str:
    """Return a `[functions.NAME]` table."""
    return table(f"functions.{toml_key(name)}", command=command, **options)


def service(name: str, command: str | Sequence[str] | None = None, **options: object) -> str:
    """Return a `[services.NAME]` table; without a command something else starts the server."""
    started = {} if command is None else {"command": command}
    return table(f"services.{toml_key(name)}", **started, **options)


def served(name: str, by: str = "s", **options: object) -> str:
    """Return the `[functions.NAME]` table of a function that a service serves."""
    return table(f"functions.{toml_key(name)}", service=by, **options)


def table(heading: str, **members: object) -> str:
    """Return a table of TOML with one line per member."""
    lines = [f"{key} = {toml_value(member)}" for key, member in members.items()]
    return "\n".join([f"[{heading}]", *lines, "", ""])
