"""What is asked for, and what comes of it."""

from dataclasses import dataclass, field
from pathlib import Path

from cm_exec.config.model import Mode
from cm_exec.scaffold.languages import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says; `name` is None where it does not."""

    directory: Path
    language: Language
    mode: Mode
    name: str | None
    base_image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A new folder's files by path, and what each is, in the order to show them.

    `may_exist` are those that are left as they are where they exist; `notes` is what a person should know.
    """

    function: str
    files: dict[str, str]
    about: dict[str, str]
    may_exist: frozenset[str]
    notes: list[str] = field(default_factory=list)
