"""The languages for which `cm-exec init` has templates."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from cm_exec.text import did_you_mean

ProjectMode = Literal["spawn", "prespawn", "persistent", "service"]

ANY_LANGUAGE: Final = (
    "Any other language works too: write a program that reads the query from stdin and writes the result to stdout, "
    "and name it as the `command` of a function in cm.toml"
)

_PROBE_TIMEOUT: Final = 30.0
"""Seconds. R can take one to start, and several on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language. `name` is also its folder of templates.

    `added` is the file of a further function, and of the first one unless `first` names another; `command` starts one
    of them. In both, `{stem}` is the name of the program: `stem`, or that of the further function. `persistent` are
    lines that its persistent handlers need in cm.toml. `watched` is a folder that `cm-exec dev` does not watch itself.
    """

    name: str
    title: str
    command: tuple[str, ...]
    added: str
    tools: tuple[Tool, ...]
    aliases: tuple[str, ...] = ()
    first: str = ""
    stem: str = "handler"
    persistent: str = ""
    watched: str = ""
    has_service: bool = False

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


def _debian(packages: str, formula: str) -> str:
    return f"Debian, Ubuntu: apt-get install {packages}; macOS: brew install {formula}"


_MAKE: Final = Tool(name="make", how_to_get="Debian, Ubuntu: apt-get install make; macOS: xcode-select --install")

_RESULT_FD: Final = (
    "# Results are written to file descriptor 3, so that a print is a log line and never a result.\nresult_fd = 3"
)

_ALL: Final = (
    Language(
        name="bash",
        title="Bash",
        aliases=("sh", "shell"),
        command=("bash", "{stem}.sh"),
        added="{stem}.sh",
        tools=(
            Tool(name="bash", how_to_get=_debian("bash", "bash")),
            Tool(name="jq", how_to_get=_debian("jq", "jq")),
        ),
    ),
    Language(
        name="python",
        title="Python",
        aliases=("py", "python3"),
        command=("python3", "{stem}.py"),
        added="{stem}.py",
        tools=(Tool(name="python3", how_to_get=_debian("python3", "python")),),
        persistent=_RESULT_FD,
        has_service=True,
    ),
    Language(
        name="node",
        title="Node.js",
        aliases=("js", "javascript", "nodejs", "mjs"),
        command=("node", "{stem}.mjs"),
        added="{stem}.mjs",
        tools=(Tool(name="node", how_to_get=_debian("nodejs", "node")),),
        persistent=f"# A query comes with its job's id, and a result names it.\nenvelope = true\n{_RESULT_FD}",
        has_service=True,
    ),
    Language(
        name="ruby",
        title="Ruby",
        aliases=("rb",),
        command=("ruby", "{stem}.rb"),
        added="{stem}.rb",
        tools=(Tool(name="ruby", how_to_get=_debian("ruby", "ruby"), probe=("ruby", "-rjson", "-e", "1")),),
        persistent=_RESULT_FD,
    ),
    Language(
        name="php",
        title="PHP",
        command=("php", "{stem}.php"),
        added="{stem}.php",
        tools=(Tool(name="php", how_to_get=_debian("php-cli", "php"), probe=("php", "-r", "json_encode(1);")),),
        persistent=_RESULT_FD,
    ),
    Language(
        name="perl",
        title="Perl",
        aliases=("pl",),
        command=("perl", "{stem}.pl"),
        added="{stem}.pl",
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
        aliases=("rscript",),
        command=("Rscript", "{stem}.R"),
        added="{stem}.R",
        tools=(
            Tool(
                name="Rscript with jsonlite",
                how_to_get=f"{_debian('r-base-core r-cran-jsonlite', 'r')}, then install.packages('jsonlite') in R",
                probe=("Rscript", "-e", "library(jsonlite)"),
            ),
        ),
        persistent=_RESULT_FD,
    ),
    Language(
        name="julia",
        title="Julia",
        aliases=("jl",),
        command=("julia", "--startup-file=no", "--project=.", "{stem}.jl"),
        added="{stem}.jl",
        tools=(Tool(name="julia", how_to_get="https://julialang.org/downloads"), _MAKE),
    ),
    Language(
        name="go",
        title="Go",
        aliases=("golang",),
        command=("bin/{stem}",),
        added="{stem}/main.go",
        first="main.go",
        tools=(Tool(name="go", how_to_get=f"https://go.dev/dl; {_debian('golang-go', 'go')}"), _MAKE),
        watched="bin",
        has_service=True,
    ),
    Language(
        name="rust",
        title="Rust",
        aliases=("rs",),
        command=("target/release/{stem}",),
        added="src/bin/{stem}.rs",
        first="src/main.rs",
        tools=(Tool(name="cargo", how_to_get="https://rustup.rs", probe=("cargo", "--version")), _MAKE),
    ),
    Language(
        name="java",
        title="Java",
        command=("java", "-XX:+UseSerialGC", "-cp", "classes", "{stem}"),
        added="{stem}.java",
        stem="Handler",
        watched="classes",
        tools=(
            Tool(
                name="javac",
                how_to_get=_debian("default-jdk-headless", "openjdk"),
                probe=("javac", "-version"),
            ),
            _MAKE,
        ),
        persistent=_RESULT_FD,
        has_service=True,
    ),
    Language(
        name="c",
        title="C",
        command=("bin/{stem}",),
        added="{stem}.c",
        watched="bin",
        tools=(
            Tool(name="cc", how_to_get="Debian, Ubuntu: apt-get install gcc libc6-dev; macOS: xcode-select --install"),
            _MAKE,
        ),
    ),
)

_IMAGEMAGICK: Final = Tool(name="convert", how_to_get=_debian("imagemagick", "imagemagick"))
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

LANGUAGES: Final[Mapping[str, Language]] = MappingProxyType({language.name: language for language in _ALL})
