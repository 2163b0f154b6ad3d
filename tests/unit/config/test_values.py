"""Right files, and what they say once every default is in its place."""

from pathlib import Path

import pytest

from cm_exec.config import Config, Function, Launcher
from cm_exec.config.load import parse_config

FOLDER = Path("/srv/module")


def config_of(text: str) -> Config:
    return parse_config(text, path=FOLDER / "cm.toml")


def function_of(options: str, *, defaults: str = "") -> Function:
    return config_of(f'[defaults]\n{defaults}\n[functions.f]\ncommand = "cat"\n{options}').functions["f"]


def test_short_function_has_all_defaults() -> None:
    """A function that is only a string is a shell command with every default."""
    assert config_of("[functions]\ndouble = \"jq '. * 2'\"") == Config(
        path=FOLDER / "cm.toml",
        functions={
            "double": Function(
                name="double",
                command="jq '. * 2'",
                timeout=300,
                max_output=64 * 1024 * 1024,
                output="bytes",
                env={},
                cwd=FOLDER,
                inherit_env=None,
                max_concurrency=None,
                credentials=False,
            )
        },
        launcher=Launcher(
            concurrency=None, drain_timeout=25, log_format="text", log_level="info", tls_server_name=None
        ),
    )


def test_a_table_sets_every_option() -> None:
    text = """
        [functions.thumbnail]
        command = ["python3", "thumbnail.py", ""]
        timeout = 0.5
        max_output = "256MiB"
        output = "json"
        env = { MODEL = "/models/a", "odd name" = "" }
        cwd = "handlers"
        inherit_env = ["PATH", "LANG"]
        max_concurrency = 2
        credentials = true
    """
    assert config_of(text).functions["thumbnail"] == Function(
        name="thumbnail",
        command=("python3", "thumbnail.py", ""),
        timeout=0.5,
        max_output=256 * 1024 * 1024,
        output="json",
        env={"MODEL": "/models/a", "odd name": ""},
        cwd=FOLDER / "handlers",
        inherit_env=("PATH", "LANG"),
        max_concurrency=2,
        credentials=True,
    )


def test_the_launcher_table_sets_every_option() -> None:
    text = """
        functions.f = "cat"
        [launcher]
        concurrency = 4
        drain_timeout = 0
        log_format = "sls"
        log_level = "debug"
        tls_server_name = "module.example"
    """
    assert config_of(text).launcher == Launcher(
        concurrency=4, drain_timeout=0, log_format="sls", log_level="debug", tls_server_name="module.example"
    )


def test_functions_keep_the_order_of_the_file() -> None:
    text = '[functions]\nz = "1"\n[functions.a]\ncommand = "2"\n[functions.m]\ncommand = "3"'
    assert list(config_of(text).functions) == ["z", "a", "m"]


def test_quoted_name() -> None:
    """A quoted name may contain dots, spaces and any letters."""
    text = '[functions]\n"a.b c" = "cat"\n"größe" = "cat"'
    assert list(config_of(text).functions) == ["a.b c", "größe"]


@pytest.mark.parametrize(
    ("written", "seconds"), [("0", None), ("0.0", None), ("1", 1.0), ("0.001", 0.001), ("604_800", 604800.0)]
)
def test_a_timeout_is_in_seconds_and_0_is_none(written: str, seconds: float | None) -> None:
    assert function_of(f"timeout = {written}").timeout == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1", 1),
        ("0x100", 256),
        ("9223372036854775808", 2**63),
        ('"7B"', 7),
        ('"7 KiB"', 7 * 1024),
        ('"7MiB"', 7 * 1024**2),
        ('"7GiB"', 7 * 1024**3),
    ],
)
def test_a_size_is_in_bytes_or_has_a_unit(written: str, size: int) -> None:
    assert function_of(f"max_output = {written}").max_output == size


@pytest.mark.parametrize(
    ("written", "folder"),
    [(".", "/srv/module"), ("a/b", "/srv/module/a/b"), ("../b", "/srv/module/../b"), ("/data", "/data")],
)
def test_relative_working_folder(written: str, folder: str) -> None:
    """A working folder is relative to the folder of the file."""
    assert function_of(f'cwd = "{written}"').cwd == Path(folder)


def test_empty_list_of_inherited_variables() -> None:
    """An empty list of inherited variables is not the default."""
    assert function_of("inherit_env = []").inherit_env == ()


def test_defaults() -> None:
    """Defaults apply to every function, in the short and in the long form."""
    config = config_of(
        """
        [defaults]
        timeout = 60
        max_output = "1KiB"
        output = "text"
        cwd = "handlers"
        inherit_env = ["PATH"]
        max_concurrency = 3
        credentials = true
        env = { A = "1" }
        [functions]
        short = "cat"
        [functions.long]
        command = ["cat"]
        """
    )
    for function in config.functions.values():
        assert (function.timeout, function.max_output, function.output) == (60, 1024, "text")
        assert (function.cwd, function.inherit_env) == (FOLDER / "handlers", ("PATH",))
        assert (function.max_concurrency, function.credentials, function.env) == (3, True, {"A": "1"})


def test_a_function_replaces_a_default() -> None:
    assert function_of("timeout = 0", defaults="timeout = 60").timeout is None
    assert function_of("inherit_env = []", defaults='inherit_env = ["PATH"]').inherit_env == ()
    assert function_of("credentials = false", defaults="credentials = true").credentials is False


def test_env_overrides_defaults() -> None:
    """A function's own variables override those of the defaults."""
    function = function_of('env = { B = "own", C = "own" }', defaults='env = { A = "all", B = "all" }')
    assert function.env == {"A": "all", "B": "own", "C": "own"}


def test_env_of_another_function() -> None:
    """A function does not get the variables of another function."""
    config = config_of(
        '[defaults]\nenv.A = "1"\n[functions.f]\ncommand = "cat"\nenv.B = "2"\n[functions.g]\ncommand = "cat"'
    )
    assert config.functions["g"].env == {"A": "1"}


def test_an_explicit_default_changes_nothing() -> None:
    assert function_of('mode = "spawn"\nstream = false\nresult_fd = 1') == function_of("")
    persistent = function_of('mode = "persistent"')
    assert function_of('mode = "persistent"\nprotocol = "lines"\nenvelope = false\nidle_timeout = 0') == persistent


@pytest.mark.parametrize("mode", ["spawn", "prespawn", "persistent"])
def test_modes(mode: str) -> None:
    """Each mode can be set for one function and for all."""
    assert function_of(f'mode = "{mode}"').mode == mode
    assert function_of("", defaults=f'mode = "{mode}"').mode == mode


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_stream_and_result_fd(mode: str) -> None:
    """Both modes with a process per job accept a stream and a result descriptor."""
    function = function_of(f'mode = "{mode}"\nstream = true\nresult_fd = 3')
    assert (function.stream, function.result_fd) == (True, 3)


@pytest.mark.parametrize(
    ("written", "seconds"), [("0", None), ("0.0", None), ("1", 1.0), ("0.25", 0.25), ("604_800", 604800.0)]
)
def test_idle_timeout(written: str, seconds: float | None) -> None:
    """An idle timeout is a number of seconds, and 0 means no timeout."""
    assert function_of(f'mode = "persistent"\nidle_timeout = {written}').idle_timeout == seconds
    assert function_of('mode = "prespawn"', defaults=f"idle_timeout = {written}").idle_timeout == seconds


def test_idle_timeout_removes_the_default() -> None:
    """An idle timeout of 0 removes the default."""
    assert function_of('mode = "persistent"\nidle_timeout = 0', defaults="idle_timeout = 60").idle_timeout is None


@pytest.mark.parametrize(
    ("key", "values"), [("processes", ("1", "10000")), ("max_jobs", ("1", "1_000_000_000_000_000_000_000"))]
)
def test_lowest_counts(key: str, values: tuple[str, ...]) -> None:
    """The least number of processes and of jobs is 1."""
    for written in values:
        assert getattr(function_of(f'mode = "persistent"\n{key} = {written}').service, key) == int(written)


def test_what_was_read_cannot_be_changed() -> None:
    config = config_of('functions.f = "cat"')
    with pytest.raises(TypeError):
        config.functions["g"] = config.functions["f"]  # type: ignore[index]
    with pytest.raises(TypeError):
        config.functions["f"].env["A"] = "1"  # type: ignore[index]


def test_argv() -> None:
    """A string runs in a shell, and an array is the argument vector."""
    config = config_of('[functions]\ns = "a | b"\n[functions.a]\ncommand = ["a", "b c"]')
    assert config.functions["s"].argv == ("/bin/sh", "-c", "a | b")
    assert config.functions["a"].argv == ("a", "b c")
