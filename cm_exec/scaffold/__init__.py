"""The languages for which `cm-exec init` has templates, and the templates."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import msgspec
import tomli
from msgspec import Struct
from msgspec.structs import replace

from cm_exec.text import did_you_mean

ProjectMode = Literal["spawn", "prespawn", "persistent", "service"]

ANY_LANGUAGE: Final = (
    "Any other language works too: write a program that reads the query from stdin and writes the result to stdout, "
    "and name it as the `command` of a function in cm.toml"
)

TEMPLATES: Final = Path(__file__).with_name("templates")
_ENVELOPE: Final = "# A query comes with its job's id, and a result names it.\nenvelope = true"
_RESULT_FD: Final = (
    "# Results are written to file descriptor 3, so that a print is a log line and never a result.\nresult_fd = 3"
)

_PROBE_TIMEOUT: Final = 30.0
"""Seconds. R can take one to start, and several on a busy machine."""


class Tool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that the handler needs. `probe` is a command that succeeds if the program is usable."""

    name: str
    how_to_get: str
    probe: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        """Report whether the program is on PATH and works."""
        if shutil.which(self.probe[0] if self.probe else self.name) is None:
            return False
        if not self.probe:
            return True
        try:
            done = subprocess.run(
                self.probe, cwd="/", capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_PROBE_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


class Language(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A language. `name` is also its folder of templates.

    `added` is the file of a further function, and of the first one unless `first` names another; `command` starts one
    of them. In both, `{stem}` is the name of the program: `stem`, or that of the further function. Its persistent
    handlers need `envelope` and `result_fd` in cm.toml. `watched` is a folder that `cm-exec dev` does not watch itself.
    """

    name: str
    title: str
    command: tuple[str, ...]
    added: str
    tools: tuple[Tool, ...]
    aliases: tuple[str, ...] = ()
    first: str = ""
    stem: str = "handler"
    envelope: bool = False
    result_fd: bool = False
    watched: str = ""

    @property
    def has_service(self) -> bool:
        """Report whether there is a template of a service."""
        return (TEMPLATES / self.name / "service").is_dir()

    @property
    def needs_build(self) -> bool:
        """Report whether something must be compiled or installed before the first run."""
        return (TEMPLATES / self.name / "build.mk").is_file()

    @property
    def persistent(self) -> list[str]:
        """Return the lines that its persistent handlers need in cm.toml."""
        return [*([_ENVELOPE] if self.envelope else []), *([_RESULT_FD] if self.result_fd else [])]

    @property
    def handler(self) -> str:
        """Return the file to change."""
        return self.first or self.added.format(stem=self.stem)

    def command_of(self, stem: str) -> list[str]:
        """Return the command that starts a program."""
        return [word.format(stem=stem) for word in self.command]

    @property
    def dev(self) -> str:
        """Return the command for `cm-exec dev`, without the program."""
        return f"dev --watch {self.watched}" if self.watched else "dev"


def find_language(text: str) -> Language:
    """Return the language that a name or an alias means. Raises ValueError with a hint for other names."""
    name = text.strip().lower()
    for language in LANGUAGES.values():
        if name == language.name or name in language.aliases:
            return language
    hint = did_you_mean(name, [*LANGUAGES, *(alias for each in LANGUAGES.values() for alias in each.aliases)])
    known = f"the templates are {', '.join(LANGUAGES)}. {ANY_LANGUAGE}"
    raise ValueError(f"there is no template for {text!r}; {hint or known}")


def _read_languages() -> Iterator[Language]:
    for name, table in tomli.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8")).items():
        language = msgspec.convert({"name": name, **table}, Language)
        yield replace(language, tools=(*language.tools, _MAKE)) if language.needs_build else language


_MAKE: Final = Tool(name="make", how_to_get="Debian, Ubuntu: apt-get install make; macOS: xcode-select --install")

LANGUAGES: Final[Mapping[str, Language]] = MappingProxyType({language.name: language for language in _read_languages()})

_IMAGEMAGICK: Final = Tool(
    name="convert", how_to_get="Debian, Ubuntu: apt-get install imagemagick; macOS: brew install imagemagick"
)
_PANDAS: Final = Tool(
    name="pandas",
    how_to_get="python3 -m pip install pandas, in a virtual environment",
    probe=("python3", "-c", "import pandas"),
)

EXAMPLES: Final[Mapping[str, tuple[str, tuple[Tool, ...]]]] = MappingProxyType(
    {
        "pandas": ("python", (_PANDAS,)),
        "model": ("r", ()),
        "image": ("bash", (_IMAGEMAGICK,)),
        "database": ("python", ()),
    }
)
"""The templates of a first real job: the language of each, and the tools that it needs besides."""


_PLACEHOLDER: Final = re.compile(r"@([A-Z]+)@")


def read_folder(folder: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each template in a folder, such as `python/once`, with `values` filled in."""
    root = TEMPLATES / folder
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        relative = path.relative_to(root)
        name = relative.name.replace("dot-", ".", 1) if relative.name.startswith("dot-") else relative.name
        text = path.read_text(encoding="utf-8")
        if name.endswith(".in"):
            name, text = name.removesuffix(".in"), filled(text, values)
        yield str(relative.with_name(name)), text


def read_part(name: str, values: Mapping[str, str] | None = None) -> str:
    """Return a template that is a part of a file, with `values` filled in if given; empty if it does not exist."""
    path = TEMPLATES / name
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8")
    return text if values is None else filled(text, values)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each `@NAME@` replaced. Values are inserted as they are."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)
