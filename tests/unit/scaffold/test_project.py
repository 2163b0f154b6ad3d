"""The files of a new project are right before any of them runs, also for languages that are not installed."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import tomli

from cm_exec.config import Mode
from cm_exec.config.load import parse_config
from cm_exec.config.schema.json_schema import cm_toml_schema
from cm_exec.scaffold import EXAMPLES, LANGUAGES
from cm_exec.scaffold.project import ProjectArgs, ProjectPlan, image_name, plan_example, plan_greeting

VALIDATOR = jsonschema.Draft7Validator(cm_toml_schema())

each_language = pytest.mark.parametrize("language", LANGUAGES)
each_mode = pytest.mark.parametrize("mode", get_args(Mode))


def plan(language: str, mode: Mode = "spawn") -> ProjectPlan:
    args = ProjectArgs(
        directory=Path("/srv/hello"), language=LANGUAGES[language], mode=mode, name=None, base_image="cm-exec-base:1"
    )
    return plan_greeting(args)


def example(name: str) -> ProjectPlan:
    args = ProjectArgs(
        directory=Path("/srv/hello"),
        language=LANGUAGES[EXAMPLES[name][0]],
        mode="spawn",
        name=None,
        base_image="cm-exec-base:1",
    )
    return plan_example(args, name)


@each_language
@each_mode
def test_config(language: str, mode: Mode) -> None:
    text = plan(language, mode).files["cm.toml"]
    (function,) = parse_config(text, path=Path("/srv/hello/cm.toml")).functions.values()
    assert function.mode == mode
    assert function.inputs
    VALIDATOR.validate(tomli.loads(text))


@each_language
@each_mode
def test_files(language: str, mode: Mode) -> None:
    files = plan(language, mode).files
    for path, text in files.items():
        assert text.endswith("\n"), path
        assert not re.search(r"@[A-Z]+@", text), path
    wanted = {"cm.toml", "query.json", "result.json", "Dockerfile", "Makefile", ".dockerignore", "cm-toml.schema.json"}
    assert wanted | {LANGUAGES[language].handler} <= files.keys()
    assert files["cm.toml"].startswith("#:schema ./cm-toml.schema.json\n")


@each_language
def test_prespawn(language: str) -> None:
    """A handler of one job does not know whether its process is started ahead."""
    spawn, prespawn = plan(language).files, plan(language, "prespawn").files
    assert {**spawn, "cm.toml": ""} == {**prespawn, "cm.toml": ""}
    more = set(prespawn["cm.toml"].splitlines()) - set(spawn["cm.toml"].splitlines())
    assert [line for line in more if not line.startswith("#")] == ['mode = "prespawn"']


@each_language
def test_makefile(language: str, tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text(plan(language).files["Makefile"])
    compiled = language in {"c", "go", "java", "julia", "rust"}
    targets = set(re.findall(r"^([a-z]+):.* ## ", makefile.read_text(), flags=re.MULTILINE))
    assert targets == {"help", "dev", "test", "image"} | ({"build"} if compiled else set())


@each_language
def test_image(language: str) -> None:
    dockerfile = plan(language).files["Dockerfile"]
    last = dockerfile.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9][0-9]*$", last, flags=re.MULTILINE)
    assert last.startswith("${CM_EXEC_BASE}\n") or last.endswith('ENTRYPOINT ["/opt/cm-exec/bin/cm-exec"]\n')
    assert "ARG CM_EXEC_BASE=cm-exec-base:1\n" in dockerfile
    assert ":latest" not in dockerfile


@pytest.mark.parametrize("name", [*LANGUAGES, *EXAMPLES])
def test_hadolint(name: str, tmp_path: Path) -> None:
    """Its Dockerfile has no complaint of hadolint."""
    files = plan(name).files if name in LANGUAGES else example(name).files
    (tmp_path / "Dockerfile").write_text(files["Dockerfile"])
    hadolint = Path(sys.executable).with_name("hadolint")
    # DL3008: Debian's versions are pinned by the release of the image
    done = subprocess.run(
        [hadolint, "--ignore", "DL3008", tmp_path / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/srv/hello", "hello"),
        ("/srv/My Project_2", "my-project-2"),
        ("/srv/--x--", "x"),
        ("/srv/é", "cm-functions"),
        ("/", "cm-functions"),
        (f"/srv/{'ab' * 90}", "ab" * 50),
    ],
)
def test_image_name(folder: str, name: str) -> None:
    assert image_name(Path(folder)) == name


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    """A template of a first real job is a whole project, too."""
    language = LANGUAGES[EXAMPLES[name][0]]
    files = example(name).files
    assert {"cm.toml", "query.json", "Dockerfile", "Makefile", ".dockerignore", language.handler} <= files.keys()
    assert parse_config(files["cm.toml"], path=Path("/srv/hello/cm.toml")).tests
    VALIDATOR.validate(tomli.loads(files["cm.toml"]))
    for path, text in files.items():
        assert text.endswith("\n"), path
        assert not re.search(r"@[A-Z]+@", text), path


@pytest.mark.parametrize("name", [*LANGUAGES, *EXAMPLES])
def test_files_of_tests_are_in_the_image(name: str) -> None:
    """`check` in the image finds the files that the tests name."""
    files = plan(name).files if name in LANGUAGES else example(name).files
    last = files["Dockerfile"].rpartition("\nFROM ")[2]
    copied = [
        source for line in re.findall(r"^COPY ([^-].*) \S+$", last, flags=re.MULTILINE) for source in line.split()
    ]
    tests = tomli.loads(files["cm.toml"])["tests"]
    for file in {test[key] for test in tests for key in ("query_file", "result_file") if key in test}:
        assert any(source == "." or fnmatch(file, source) for source in copied), file
