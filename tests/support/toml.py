"""cm.toml texts for tests."""

import json
from collections.abc import Mapping, Sequence


def function(name: str, command: str | Sequence[str], **options: object) -> str:
    """A `[functions.NAME]` table."""
    return table(f"functions.{json.dumps(name)}", command=command, **options)


def table(heading: str, **members: object) -> str:
    """A table of TOML with one line a member."""
    lines = [f"{key} = {value(member)}" for key, member in members.items()]
    return "\n".join([f"[{heading}]", *lines, "", ""])


def value(member: object) -> str:
    """A value as TOML; JSON's texts of all but objects are TOML too."""
    if isinstance(member, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(k))} = {value(v)}" for k, v in member.items()) + " }"
    return json.dumps(list(member) if isinstance(member, tuple) else member, ensure_ascii=True)
