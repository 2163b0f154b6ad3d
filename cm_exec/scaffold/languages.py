"""The languages that `cm-exec init` writes a handler in."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, get_args

from cm_exec.config.model import Mode

MODES: Final[tuple[Mode, ...]] = get_args(Mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that the handler needs. `probe` is a command that succeeds where it is there and usable."""

    name: str
    how_to_get: str
    probe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language. `name` is also its folder of templates, `handler` the file to change.

    `persistent` are lines that its persistent handlers need in cm.toml besides. `watched` is what `cm-exec dev` has to
    watch that it does not take for code by itself.
    """

    name: str
    title: str
    command: tuple[str, ...]
    handler: str
    tools: tuple[Tool, ...]
    persistent: str = ""
    watched: str = ""

    @property
    def dev(self) -> str:
        """The command for `cm-exec dev`, without the program."""
        return f"dev --watch {self.watched}" if self.watched else "dev"


def _debian(packages: str, formula: str) -> str:
    return f"Debian, Ubuntu: apt-get install {packages}; macOS: brew install {formula}"


_MAKE: Final = Tool(name="make", how_to_get="Debian, Ubuntu: apt-get install make; macOS: xcode-select --install")

_ALL: Final = (
    Language(
        name="bash",
        title="Bash",
        command=("bash", "handler.sh"),
        handler="handler.sh",
        tools=(
            Tool(name="bash", how_to_get=_debian("bash", "bash")),
            Tool(name="jq", how_to_get=_debian("jq", "jq")),
        ),
    ),
    Language(
        name="python",
        title="Python",
        command=("python3", "handler.py"),
        handler="handler.py",
        tools=(Tool(name="python3", how_to_get=_debian("python3", "python")),),
    ),
    Language(
        name="node",
        title="Node.js",
        command=("node", "handler.js"),
        handler="handler.js",
        tools=(Tool(name="node", how_to_get=_debian("nodejs", "node")),),
        persistent="# A query comes with its job's id, and a result names it.\nenvelope = true",
    ),
    Language(
        name="perl",
        title="Perl",
        command=("perl", "handler.pl"),
        handler="handler.pl",
        tools=(
            Tool(
                name="perl",
                how_to_get=_debian("perl", "perl"),
                probe=("perl", "-MJSON::PP", "-e", "1"),  # Debian's smallest perl has no JSON
            ),
        ),
    ),
    Language(
        name="r",
        title="R",
        command=("Rscript", "handler.R"),
        handler="handler.R",
        tools=(
            Tool(
                name="Rscript with jsonlite",
                how_to_get=f"{_debian('r-base-core r-cran-jsonlite', 'r')}, then install.packages('jsonlite') in R",
                probe=("Rscript", "-e", "library(jsonlite)"),
            ),
        ),
    ),
    Language(
        name="julia",
        title="Julia",
        command=("julia", "--startup-file=no", "--project=.", "handler.jl"),
        handler="handler.jl",
        tools=(Tool(name="julia", how_to_get="https://julialang.org/downloads"), _MAKE),
    ),
    Language(
        name="go",
        title="Go",
        command=("./handler",),
        handler="main.go",
        tools=(Tool(name="go", how_to_get=f"https://go.dev/dl; {_debian('golang-go', 'go')}"), _MAKE),
    ),
    Language(
        name="rust",
        title="Rust",
        command=("target/release/handler",),
        handler="src/main.rs",
        tools=(Tool(name="cargo", how_to_get="https://rustup.rs", probe=("cargo", "--version")), _MAKE),
    ),
    Language(
        name="java",
        title="Java",
        command=("java", "-XX:+UseSerialGC", "-cp", "classes", "Handler"),
        handler="Handler.java",
        watched="classes",
        tools=(
            Tool(
                name="javac",
                how_to_get=_debian("default-jdk-headless", "openjdk"),
                probe=("javac", "-version"),
            ),
            _MAKE,
        ),
    ),
    Language(
        name="c",
        title="C",
        command=("./handler",),
        handler="handler.c",
        tools=(
            Tool(name="cc", how_to_get="Debian, Ubuntu: apt-get install gcc libc6-dev; macOS: xcode-select --install"),
            _MAKE,
        ),
    ),
)

LANGUAGES: Final[Mapping[str, Language]] = MappingProxyType({language.name: language for language in _ALL})
