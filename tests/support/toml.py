"""cm.toml texts for tests."""

from collections.abc import Sequence

from cm_exec.config.toml import toml_key, toml_value


def function(name: str, command: str | Sequence[str], **options: object) -> str:
    """Return a `[functions.NAME]` table."""
    return table(f"functions.{toml_key(name)}", command=command, **options)


def table(heading: str, **members: object) -> str:
    """Return a table of TOML with one line per member."""
    lines = [f"{key} = {toml_value(member)}" for key, member in members.items()]
    return "\n".join([f"[{heading}]", *lines, "", ""])
