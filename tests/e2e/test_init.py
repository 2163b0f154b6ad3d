"""`cm-exec init` writes a folder that works at once, in every language and mode, and touches nothing that is there."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import get_args

import pytest

from cm_exec.config import Mode
from cm_exec.scaffold import LANGUAGES
from tests.support.scaffold import each_language, init, prepare, run
from tests.support.tools import needs


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def next_steps(output: str) -> list[str]:
    """Return the commands under "Next:"."""
    _, _, after = output.partition("\nNext:\n")
    return [re.split(r"\s{2,}", line.strip())[0] for line in after.partition("\n\n")[0].splitlines()]


def written(tmp_path: Path, language: str, mode: str) -> tuple[Path, list[str]]:
    """Create a project; return its folder, and the commands that follow `cd`."""
    done = init(tmp_path, f"{mode}/hello ü", "--lang", language, "--mode", mode)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / mode / "hello ü"
    prepare(folder)
    steps = next_steps(done.stdout)
    assert shlex.split(steps[0]) == ["cd", f"{mode}/hello ü"]
    assert steps[-2].startswith("cm-exec dev")
    return folder, steps[1:-2]


def passes(folder: Path, command: str) -> str:
    done = run(folder, *shlex.split(command))
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.mark.parametrize("language", each_language())
def test_steps_spawn(language: str, tmp_path: Path) -> None:
    """Every next step passes for a handler of one job."""
    folder, steps = written(tmp_path, language, "spawn")
    for step in steps:
        output = passes(folder, step)
    assert output == '"Hello, Ada!"'
    passes(folder, "cm-exec check")


@pytest.mark.parametrize("language", each_language())
def test_steps_persistent(language: str, tmp_path: Path) -> None:
    """Every next step passes for a persistent handler."""
    folder, steps = written(tmp_path, language, "persistent")
    for step in steps:
        output = passes(folder, step)
    assert output == '"Hello, Ada!"'


@needs("python3", "make")
def test_no_option(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    written = init(tmp_path / "mine")
    assert written.returncode == 0, written.stderr
    steps = next_steps(written.stdout)
    assert steps[0] == "cm-exec test"
    tested = run(tmp_path / "mine", "make", "test")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert steps[-2:] == ["cm-exec dev", "make image"]


def test_editor_schema(tmp_path: Path) -> None:
    """An editor checks cm.toml by the schema beside it."""
    init(tmp_path, "hello")
    taplo = str(Path(sys.executable).with_name("taplo"))
    path = tmp_path / "hello" / "cm.toml"
    for judgement in ("lint", "fmt --check"):
        right = run(tmp_path, taplo, *judgement.split(), str(path))
        assert right.returncode == 0, right.stderr
    path.write_text(path.read_text().replace("timeout", "timeoutt"))
    wrong = run(tmp_path, taplo, "lint", str(path))
    assert wrong.returncode == 1
    assert "('timeoutt' was unexpected)" in wrong.stderr


def test_name(tmp_path: Path) -> None:
    name = """it's "a.b" \\ $HOME `id` @KEY@ #ü"""
    written = init(tmp_path, "hello", "--name", name)
    assert written.returncode == 0, written.stderr
    for step in next_steps(written.stdout)[1:3]:
        done = run(tmp_path / "hello", *shlex.split(step))
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
    assert name in run(tmp_path / "hello", "cm-exec", "check").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", ""], "expected a function's name: not empty"),
        (["--name", "a\nb"], "no control characters"),
        (["--name", "a\udcff"], "UTF-8"),
        (["--base-image", "a b\nRUN rm"], "expected an image such as"),
        (["--base-image", ""], "expected an image such as"),
        (["--lang", "cobol"], "Any other language works too: write a program that reads the query from stdin"),
        (["--lang", "pyton"], "there is no template for 'pyton'; did you mean python?"),
        (["--mode", "persistant"], "did you mean 'persistent'?"),
        (["--lang", "perl", "--mode", "service"], "there is no service template for perl; there is one for python,"),
        (["--add", "f", "--name", "g"], "--add NAME already names the function"),
        (["--lang", "cobol"], "there is no template for 'cobol'; the templates are bash, python, node, ruby"),
        (["--mode", "fork"], "'fork' is not one of 'spawn'"),
        (["--from-python", "nowhere:"], "expected MODULE:FUNCTION"),
        (
            ["--from-python", "nowhere:f"],
            "No module named 'nowhere'; searched in hello, which does not exist yet, and among the packages of python3",
        ),
        (["--from-python", "a:b", "--lang", "go"], "leave out --lang go"),
    ],
)
def test_usage_errors(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = init(tmp_path, "hello", *arguments)
    assert done.returncode == 2
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_existing_files(tmp_path: Path) -> None:
    (tmp_path / "cm.toml").write_text("mine")
    (tmp_path / "query.json").symlink_to("nowhere")
    done = init(tmp_path, ".", "--lang", "perl")
    assert done.returncode == 2
    assert "cm.toml and query.json already exist in .; nothing was written; to add a function" in done.stderr
    assert contents(tmp_path) == {"cm.toml": b"mine"}


def test_file_for_folder(tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("mine")
    for place in ("hello", "hello/inside"):
        done = init(tmp_path, place)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    assert contents(tmp_path) == {"hello": b"mine"}


@pytest.mark.parametrize("options", [[], ["--add", "f"], ["--template", "pandas"]], ids=" ".join)
def test_folder_that_cannot_be(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for folder in ("loop", "a" * 300, "/dev/null/x"):
        done = init(tmp_path, folder, *options)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_existing_gitignore(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    done = init(tmp_path, ".")
    assert done.returncode == 0, done.stderr
    assert "Left as it was: .gitignore" in done.stdout
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_missing_tool(tmp_path: Path) -> None:
    """A missing program is named with the way to get it."""
    done = run(tmp_path, sys.executable, "-m", "cm_exec", "init", "hello", "--lang", "bash", PATH=str(tmp_path))
    assert done.returncode == 0
    assert "cm-exec: note: jq is not installed: Debian, Ubuntu: apt-get install jq" in done.stderr
    assert (tmp_path / "hello" / "cm.toml").exists()


PRICING = """
import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Optional, TypedDict

print("loading")

@dataclass
class Line:
    price: Decimal
    on: date
    note: Optional[str] = None

class Order(TypedDict):
    lines: list[Line]
    at: datetime

def total(context, order: Order) -> dict[date, Decimal]:
    print("noise for the log")
    assert order["at"] == datetime(2024, 2, 29, 12)
    assert isinstance(context["jobId"], str) and context["jobId"]
    return {line.on: line.price * 2 for line in order["lines"]}

async def double(n: int, *, times: int = 2) -> int:
    await asyncio.sleep(0)
    return n * times

def hello(context, event):
    return "Hello " + event["name"]
"""

ORDER = {"lines": [{"price": "1.50", "on": "2024-02-29"}], "at": "2024-02-29T12:00:00Z"}


@needs("python3")
@pytest.mark.parametrize("mode", ["spawn", "persistent"])
@pytest.mark.parametrize(
    ("function", "query", "result"),
    [
        ("total", ORDER, {"2024-02-29": "3.00"}),
        ("double", {"n": 4}, 8),
        ("hello", {"name": "Zoë"}, "Hello Zoë"),
    ],
)
def test_from_python(mode: str, function: str, query: object, result: object, tmp_path: Path) -> None:
    (tmp_path / "pricing.py").write_text(PRICING)
    written = init(tmp_path, "--from-python", f"pricing:{function}", "--mode", mode)
    note = "cm-exec: note: hello has no type hint for its result: `returns` is left out, and no result is checked\n"
    assert (written.returncode, written.stderr) == (0, note if function == "hello" else "")
    done = run(tmp_path, "cm-exec", "invoke", function, json.dumps(query))
    assert (done.returncode, json.loads(done.stdout)) == (0, result), done.stderr
    assert mode == "persistent" or "loading" in done.stderr  # a service loads before its jobs


@needs("python3")
@pytest.mark.parametrize("mode", get_args(Mode))
def test_from_python_failure(mode: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def f(n: int) -> int:\n    raise ValueError('not that one')\n")
    init(tmp_path, "--from-python", "wrong:f", "--mode", mode, "--name", "g")
    done = run(tmp_path, "cm-exec", "invoke", "g", '{"n": 1}')
    failure = json.loads(done.stdout)
    assert (failure["reason"], failure["exitCode"]) == ("exit", 1)
    assert "ValueError: not that one" in failure["stderr"]


@needs("python3")
def test_from_python_added(tmp_path: Path) -> None:
    (tmp_path / "pricing.py").write_text(PRICING)
    (tmp_path / "Makefile").write_text("mine:\n")
    written = init(tmp_path, "--from-python", "pricing:total")
    assert "Left as it was: Makefile" in written.stdout
    tested = run(tmp_path, "cm-exec", "test")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    again = init(tmp_path, "--from-python", "pricing:double")
    assert again.returncode == 2
    assert "cm-exec init --add NAME --from-python pricing:double" in re.sub(r"\s+", " ", again.stderr)
    added = init(tmp_path, "--add", "double", "--from-python", "pricing:double")
    assert (added.returncode, added.stderr) == (0, "")
    assert run(tmp_path, "cm-exec", "test").returncode == 0
    done = run(tmp_path, "cm-exec", "invoke", "double", '{"n": 4}')
    assert (done.returncode, done.stdout) == (0, "8"), done.stderr


@pytest.mark.parametrize("language", each_language())
def test_add(language: str, tmp_path: Path) -> None:
    """`--add` writes functions that work, in the language of the project and in each mode."""
    assert init(tmp_path, ".", "--lang", language).returncode == 0
    prepare(tmp_path)
    before = contents(tmp_path)
    for mode in get_args(Mode):
        added = init(tmp_path, "--add", f"Shout-it {mode}", "--mode", mode)
        assert (added.returncode, added.stderr) == (0, "")
        *build, test = added.stdout.rpartition("Next: ")[2].strip().split(" && ")
        assert test == "cm-exec test"
    after = contents(tmp_path)
    assert after["cm.toml"].startswith(before.pop("cm.toml").rstrip())
    assert before.items() <= after.items()
    for step in build:
        passes(tmp_path, step)
    assert "10 tests: 10 passed" in passes(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "message"),
    [("greet", "cm.toml would be invalid"), ("handler", "handler.py: File exists; nothing was written"), ("", "empty")],
)
def test_add_refused(name: str, message: str, tmp_path: Path) -> None:
    """`--add` writes nothing if the function or its file exists."""
    init(tmp_path)
    before = contents(tmp_path)
    done = init(tmp_path, "--add", name)
    assert done.returncode == 2
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert contents(tmp_path) == before


def test_add_without_project(tmp_path: Path) -> None:
    done = init(tmp_path, "--add", "f")
    assert done.returncode == 2
    assert "create a project first: cm-exec init ." in re.sub(r"\s+", " ", done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("alias", "name"), [("js", "node"), ("sh", "bash"), ("py", "python"), ("RB", "ruby"), ("golang", "go")]
)
def test_alias(alias: str, name: str, tmp_path: Path) -> None:
    done = init(tmp_path, "hello", "--lang", alias)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello" / LANGUAGES[name].handler).exists()


FEW_VALUES = """
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Literal, NamedTuple, Optional

class Colour(Enum):
    RED = "red"

class Level(IntEnum):
    HIGH = 2

class Pair(NamedTuple):
    x: int
    y: float = 0.5

@dataclass
class Sum:
    parts: list[int]
    total: int = field(init=False)
    def __post_init__(self): self.total = sum(self.parts)

@dataclass
class Part:
    colour: Colour
    size: Literal["s", "m"] = "s"
    also: Optional[list[Colour]] = None

def paint(colour: Colour, parts: dict[str, Part], other: Optional[Colour] = None) -> str: return colour.value
def one(part: Part) -> str: return part.colour.value
def some(number: int): return {"number": number}
def count(number: int):
    yield number
def pair(first: Pair, other: list[Pair]) -> dict[str, Pair]: return {"first": first, "other": other[0]}
def add(of: Sum, also: int) -> Sum: return of
def by_level(names: dict[Level, str], amounts: dict[Colour, dict[Literal["s"], int]]) -> dict[Level, str]: return names
"""


@needs("python3")
@pytest.mark.parametrize("function", ["paint", "one", "some", "count", "pair", "add", "by_level"])
def test_from_python_passes_its_tests(function: str, tmp_path: Path) -> None:
    """The generated tests pass at once, also for enums and without a hint for the result."""
    (tmp_path / "few.py").write_text(FEW_VALUES)
    assert init(tmp_path, "--from-python", f"few:{function}").returncode == 0
    tested = run(tmp_path, "cm-exec", "test")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs("python3")
def test_from_python_added_to_a_project(tmp_path: Path) -> None:
    """A project with a handler of its own gets the one that calls the function."""
    assert init(tmp_path, ".").returncode == 0
    (tmp_path / "few.py").write_text(FEW_VALUES)
    added = init(tmp_path, "--add", "paint", "--from-python", "few:paint")
    assert added.returncode == 0
    assert "cm_handler.py  calls it with its types" in added.stdout
    tested = run(tmp_path, "cm-exec", "test")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    whole = init(tmp_path, "--add", "one", "--from-python", "few")
    assert whole.returncode == 2
    assert "name the one in Python, too, such as few:one" in whole.stderr


def test_from_python_module_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "few.py").write_text(FEW_VALUES)
    done = re.sub(r"\s+", " ", init(tmp_path, "hello", "--from-python", "few:one").stderr)
    assert "few is in the current folder: leave out DIRECTORY, or copy it into hello" in done


@pytest.mark.parametrize(
    ("hint", "module", "instead"),
    [
        ("Path", "pathlib", "n: pathlib.Path has no counterpart among Foundry's types; use str"),
        ("timedelta", "datetime", "n: datetime.timedelta has no counterpart among Foundry's types; use str, or a"),
        ("Callable", "typing", "has no counterpart among Foundry's types; use a dataclass"),
    ],
)
def test_type_without_counterpart(hint: str, module: str, instead: str, tmp_path: Path) -> None:
    """`--from-python` names the parameter, its type, and a type to use instead."""
    (tmp_path / "wrong.py").write_text(f"from {module} import {hint}\ndef f(n: {hint}) -> int: return 1\n")
    done = init(tmp_path, "--from-python", "wrong:f")
    assert done.returncode == 2
    assert instead in re.sub(r"\s+", " ", done.stderr)
    assert "searched in" not in done.stderr


@needs("Rscript")
def test_template_model(tmp_path: Path) -> None:
    _template_works(tmp_path, "model")


@needs("convert", "jq")
def test_template_image(tmp_path: Path) -> None:
    _template_works(tmp_path, "image")


@needs("python3")
def test_template_database(tmp_path: Path) -> None:
    _template_works(tmp_path, "database")


@needs("python3")
def test_template_pandas(tmp_path: Path) -> None:
    """Where pandas is not installed, the message says how to get it, and the rest is right."""
    if run(tmp_path, "python3", "-c", "import pandas").returncode == 0:
        _template_works(tmp_path, "pandas")
        return
    done = init(tmp_path, "pandas", "--template", "pandas")
    assert done.returncode == 0
    assert "pandas is not installed: python3 -m pip install pandas" in done.stderr
    passes(tmp_path / "pandas", "cm-exec check")


def _template_works(tmp_path: Path, name: str) -> None:
    done = init(tmp_path, name, "--template", name)
    assert (done.returncode, done.stderr) == (0, "")
    steps = next_steps(done.stdout)
    for step in steps[1:-2]:
        passes(tmp_path / name, step)
    passes(tmp_path / name, "cm-exec check")


def test_template_alone(tmp_path: Path) -> None:
    done = init(tmp_path, "x", "--template", "pandas", "--lang", "r")
    assert done.returncode == 2
    assert "leave out the other options" in re.sub(r"\s+", " ", done.stderr)
    assert "did you mean 'pandas'?" in re.sub(r"\s+", " ", init(tmp_path, "x", "--template", "panda").stderr)
