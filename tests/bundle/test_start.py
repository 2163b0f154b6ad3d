"""The bundle runs where nothing else is installed, and in a hostile environment."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pytest

from cm_exec import __version__
from cm_exec.cli.program import program
from tests.support.bundle import DEVELOPER_PACKAGES, HOME, Bundle
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

ENTRY = str(HOME / "bin" / "cm-exec")

HOSTILE = {
    "PYTHONPATH": "/nowhere:{folder}/python",
    "PYTHONHOME": "/nowhere",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
    "PYTHONPROFILEIMPORTTIME": "1",
    "LD_LIBRARY_PATH": "{folder}/lib",
    "OPENSSL_CONF": "{folder}/openssl.cnf",
    "LC_ALL": "xx_XX.nothing",
    "LANGUAGE": "xx",
}


@pytest.fixture
def at_home(bundle: Bundle, unshare: tuple[str, ...]) -> list[str]:
    return bundle.at_home(unshare)


def lay_traps(folder: Path) -> dict[str, str]:
    """Write modules, libraries and a configuration that break a program that loads them."""
    for name in ("python", "lib"):
        folder.joinpath(name).mkdir()
    for module in ("click", "urllib3", "json", "os", "sitecustomize", "cm_exec"):
        folder.joinpath("python", f"{module}.py").write_text("raise SystemExit('a trap')\n")
    for library in ("libssl.so.3", "libcrypto.so.3", "libz.so.1", "libm.so.6", "libffi.so.8"):  # not what a shell needs
        folder.joinpath("lib", library).write_bytes(b"no library")
    sections = ("all]\nproviders = those", "those]\nnone = none", "none]\nactivate = 1")
    configuration = "\n[".join(["config_diagnostics = 1\nopenssl_conf = all", *sections])
    folder.joinpath("openssl.cnf").write_text(configuration)
    return {name: value.format(folder=folder) for name, value in HOSTILE.items()}


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, cwd=folder, env=dict(environment or {}), capture_output=True, check=False, stdin=subprocess.DEVNULL
    )


def test_it_runs_in_a_root_with_nothing_else(empty_root: list[str], tmp_path: Path) -> None:
    done = run([*empty_root, ENTRY, "--version"], tmp_path)
    assert (done.stdout.decode(), done.stderr) == (f"cm-exec {__version__}\n", b"")


def test_late_libraries(empty_root: list[str], tmp_path: Path) -> None:
    """The libraries that libc loads later, to resolve a name and to end a thread, are present."""
    code = "import ctypes, socket; print(socket.gethostbyname('somewhere'), flush=True)"
    code += "; ctypes.CDLL(None).pthread_exit(None)"
    done = run([*empty_root, str(HOME / "bin" / "python3"), "-ISc", code], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"127.0.0.7\n", b"")


@pytest.mark.parametrize("is_hostile", [False, True], ids=["empty", "hostile"])
def test_environment_of_a_handler(at_home: list[str], tmp_path: Path, is_hostile: bool) -> None:
    """A handler gets the environment of the container."""
    environment = lay_traps(tmp_path) if is_hostile else {}
    tmp_path.joinpath("cm.toml").write_text(function("environment", ["/usr/bin/env", "-0"]))
    done = run([*at_home, "env", "-i", *pairs(environment), ENTRY, "invoke", "environment", "1"], tmp_path)
    assert done.stderr == b""
    seen = {line.partition("=")[0]: line.partition("=")[2] for line in done.stdout.decode().split("\0") if line}
    for name in ("CM_JOB_ID", "CM_QUERY_TYPE"):
        seen.pop(name)
    assert seen == environment


@pytest.mark.parametrize("is_hostile", [False, True], ids=["clean", "hostile"])
def test_jobs_of_all_modes(harness: WorkerHarness, at_home: list[str], tmp_path: Path, is_hostile: bool) -> None:
    """A worker answers jobs of all modes over TLS."""
    environment = {**harness.environment(), **(lay_traps(tmp_path) if is_hostile else {})}
    clean = {"inherit_env": ["PATH"]}
    config = (
        function("spawn", "cat", **clean)
        + function("prespawn", ["cat"], mode="prespawn", **clean)
        + function("persistent", 'while read -r line; do echo "$line"; done', mode="persistent", **clean)
        + function("stream", "cat", stream=True, **clean)
        + function("channel", "echo noise; cat >&3", result_fd=3, **clean)
        + function("large", "head -c 3000000 /dev/zero", **clean)
    )
    variables = [*pairs(environment), "sh", "-c", f'shift && exec {ENTRY} "$@"', "sh"]
    worker = harness.start(config, environment={"PATH": environment["PATH"]}, wrapper=[*at_home, "env", *variables])
    for name in ("spawn", "prespawn", "persistent", "stream", "channel"):
        assert harness.runtime.call(name, b"[1]").strip() == b"[1]", name
    assert harness.runtime.call("large") == bytes(3_000_000)
    assert worker.stop() == 0
    assert worker.stderr == ""


IMPORT_ALL = f"""
import importlib, pkgutil, sys
sys.path.append("/opt/cm-exec/site")
import cm_exec
for module in pkgutil.walk_packages(cm_exec.__path__, "cm_exec."):
    if "__main__" not in module.name and module.name.split(".")[1] not in {DEVELOPER_PACKAGES}:
        importlib.import_module(module.name)
        print(module.name)
"""


def test_every_module_of_a_worker_can_be_imported(at_home: list[str], tmp_path: Path) -> None:
    """The bundle contains only a part of the standard library."""
    done = run([*at_home, str(HOME / "bin" / "python3"), "-ISc", IMPORT_ALL], tmp_path)
    assert done.stderr == b""
    assert {"cm_exec.cli.run", "cm_exec.cli.check", "cm_exec.function_tests"} <= set(done.stdout.decode().split())


@pytest.mark.parametrize("command", ["dev", "bench", "conform cat"])
def test_developer_command(at_home: list[str], tmp_path: Path, command: str) -> None:
    """A command for developers says how to install it."""
    tmp_path.joinpath("cm.toml").write_text(function("echo", ["cat"]))
    done = run([*at_home, ENTRY, *command.split()], tmp_path)
    assert done.returncode == 2
    assert b"install them with: pip install 'cm-exec[dev]'" in done.stderr


def test_every_command_shows_its_help(at_home: list[str], tmp_path: Path) -> None:
    commands = program.list_commands(click.Context(program))
    script = " && ".join(f"{ENTRY} {command} --help" for command in commands)
    done = run([*at_home, "sh", "-c", script], tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"Usage: cm-exec ") == len(commands) > 8


def test_locale(at_home: list[str], tmp_path: Path) -> None:
    """Text is Unicode in every locale."""
    tmp_path.joinpath("cm.toml").write_text(function("gr\u00fc\u00dfe", ["cat"]), encoding="utf-8")
    done = run([*at_home, "env", "-i", "LC_ALL=C", ENTRY, "invoke", "gr\u00fc\u00dfe", "1"], tmp_path)
    assert (done.stdout, done.stderr) == (b"1", b"")


def pairs(environment: Mapping[str, str]) -> list[str]:
    """Return arguments for env(1): a hostile environment is not for the programs that create the root."""
    return [f"{name}={value}" for name, value in environment.items()]
