"""Wrong files, and exactly what is said of them."""

from pathlib import Path

import pytest

from cm_exec.config.load import parse_config
from cm_exec.config.schema import LauncherTable
from cm_exec.errors import ConfigError
from cm_exec.protocol.environment import CONNECTION_VARIABLES, JOB_VARIABLES

SECONDS = "expected a number of seconds from 0 to 604800 (0 is no limit)"
SIZE = 'expected an integer of bytes, 1 or more, or a string such as "64MiB" (B, KiB, MiB or GiB)'
SLOTS = "expected an integer from 1 to 10000"
NAMES = 'expected an array of variables\' names, such as ["PATH", "LANG"]'
COMMAND = 'expected a command: a string for /bin/sh, or an array such as ["python3", "main.py"]'
ENTRY = "expected a command for /bin/sh, an array of arguments, or a table with a command or a service"
TEXT = "expected a string in quotes, without NUL"
MODE = 'expected "spawn", "prespawn" or "persistent"'
PROTOCOL = 'expected "lines", "content-length" or "http"'
JOBS = "expected an integer, 1 or more"
FUNCTION = '[functions.f]\ncommand = "cat"\n'
CONNECTION = "belongs to the connection with the runtime and never reaches a handler"


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=Path("/srv/cm.toml"), shown_as=Path("cm.toml"))
    return [str(problem) for problem in caught.value.problems]


def mistakes_in_function(options: str) -> list[str]:
    """Return the problems of a function `f`, without the start of their key."""
    return [m.removeprefix("functions.f.") for m in mistakes_of(f"{FUNCTION}{options}")]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("timeout = -1", f"timeout: {SECONDS}, found -1"),
        ("timeout = -0.5", f"timeout: {SECONDS}, found -0.5"),
        ("timeout = nan", f"timeout: {SECONDS}, found nan"),
        ("timeout = inf", f"timeout: {SECONDS}, found inf"),
        ("timeout = -inf", f"timeout: {SECONDS}, found -inf"),
        ("timeout = 604801", f"timeout: {SECONDS}, found 604801"),
        (f"timeout = 1{'0' * 400}", f"timeout: {SECONDS}, found a huge integer"),
        (f"timeout = 0x{'f' * 5000}", f"timeout: {SECONDS}, found a huge integer"),
        ("timeout = true", f"timeout: {SECONDS}, found true"),
        ("timeout = []", f"timeout: {SECONDS}, found an empty array"),
        ("timeout = {}", f"timeout: {SECONDS}, found an empty table"),
        ("timeout = 07:32:00", f"timeout: {SECONDS}, found a date or time"),
        ('timeout = "30"', f'timeout: {SECONDS}, found "30"; did you mean 30?'),
        ('timeout = "30s"', f'timeout: {SECONDS}, found "30s"; did you mean 30?'),
        ('timeout = "1.5 min"', f'timeout: {SECONDS}, found "1.5 min"; did you mean 90?'),
        ('timeout = "none"', f'timeout: {SECONDS}, found "none"'),
        ("max_output = 0", f"max_output: {SIZE}, found 0"),
        ("max_output = 1.0", f"max_output: {SIZE}, found 1.0; did you mean 1?"),
        ("max_output = true", f"max_output: {SIZE}, found true"),
        ('max_output = "256MB"', f'max_output: {SIZE}, found "256MB"; did you mean "256MiB"?'),
        ('max_output = "256 m"', f'max_output: {SIZE}, found "256 m"; did you mean "256MiB"?'),
        ('max_output = "4096"', f'max_output: {SIZE}, found "4096"; did you mean 4096?'),
        ('max_output = "0MiB"', f'max_output: {SIZE}, found "0MiB"'),
        ('max_output = "-1MiB"', f'max_output: {SIZE}, found "-1MiB"'),
        ('max_output = "1TiB"', f'max_output: {SIZE}, found "1TiB"'),
        ('max_output = "1MiB\\n"', f'max_output: {SIZE}, found "1MiB\\n"; did you mean "1MiB"?'),
        ('max_output = "٣MiB"', f'max_output: {SIZE}, found "٣MiB"'),
        ('output = "Json"', 'output: expected "bytes", "json" or "text", found "Json"; did you mean "json"?'),
        ('output = "xml"', 'output: expected "bytes", "json" or "text", found "xml"'),
        ("output = true", 'output: expected "bytes", "json" or "text", found true'),
        ("env = []", 'env: expected a table of strings, such as { MODEL = "/models/a" }, found an empty array'),
        ("env = { N = 4 }", f"env.N: {TEXT}, found an integer"),
        ("env = { N = true }", f"env.N: {TEXT}, found a boolean"),
        ("env = { N = 1.5 }", f"env.N: {TEXT}, found a number"),
        ("env = { N = 1979-05-27 }", f"env.N: {TEXT}, found a date or time"),
        ('env = { N = "a\\u0000" }', f"env.N: {TEXT}, found a string with NUL"),
        (
            'env = { "" = "x" }',
            'env."": expected a variable\'s name: not empty, no = and no NUL, found an empty string',
        ),
        ('env = { "A=B" = "x" }', 'env."A=B": expected a variable\'s name: not empty, no = and no NUL, found "A=B"'),
        ('cwd = ""', "cwd: expected a folder's path: not empty, no NUL, found an empty string"),
        ('cwd = "a\\u0000b"', 'cwd: expected a folder\'s path: not empty, no NUL, found "a\\u0000b"'),
        ("cwd = 1", 'cwd: expected a folder\'s path: not empty, no NUL, found 1; did you mean "1"?'),
        ('inherit_env = "PATH, LANG"', f'inherit_env: {NAMES}, found "PATH, LANG"; did you mean ["PATH", "LANG"]?'),
        ("inherit_env = true", f"inherit_env: {NAMES}, found true"),
        (
            'inherit_env = ["PATH", "LC_*"]',
            'inherit_env[1]: expected a variable\'s whole name: not empty, no =, no wildcard, found "LC_*"',
        ),
        ("max_concurrency = 0", f"max_concurrency: {SLOTS}, found 0"),
        ("max_concurrency = true", f"max_concurrency: {SLOTS}, found true"),
        ("max_concurrency = 1.0", f"max_concurrency: {SLOTS}, found 1.0; did you mean 1?"),
        ('max_concurrency = "2"', f'max_concurrency: {SLOTS}, found "2"; did you mean 2?'),
        ("max_concurrency = 10001", f"max_concurrency: {SLOTS}, found 10001"),
        ("credentials = 1", "credentials: expected true or false, found 1"),
        ('credentials = "True"', 'credentials: expected true or false, found "True"; did you mean true?'),
    ],
)
def test_wrong_value(option: str, message: str) -> None:
    """An error about a value says what the key expects."""
    assert mistakes_in_function(option) == [message]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('""', f"functions.f.command: {COMMAND}, found an empty string"),
        ('" \\t"', f"functions.f.command: {COMMAND}, found a blank string"),
        ('"a\\u0000b"', f"functions.f.command: {COMMAND}, found a string with NUL"),
        ("[]", f"functions.f.command: {COMMAND}, found an empty array"),
        ("5", f"functions.f.command: {COMMAND}, found an integer"),
        ("{}", f"functions.f.command: {COMMAND}, found an empty table"),
        ('["", "a"]', "functions.f.command[0]: expected a program, found a blank string"),
        ('["a", 5]', f"functions.f.command[1]: {TEXT}, found an integer"),
        ('["a", "b\\u0000"]', f"functions.f.command[1]: {TEXT}, found a string with NUL"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(command: str, message: str) -> None:
    assert mistakes_of(f"[functions.f]\ncommand = {command}") == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "functions: expected at least one function, found none"),
        ("[functions]", "functions: expected at least one function, found none"),
        ("functions = 1", "functions: expected a table of functions, found 1"),
        ('[[functions]]\nf = "cat"', "functions: expected a table of functions, found an array"),
        ('[functions]\nf = ""', f"functions.f: {ENTRY}, found an empty string"),
        ("[functions]\nf = 5", f"functions.f: {ENTRY}, found an integer"),
        ("[functions]\nf = []", f"functions.f: {ENTRY}, found an empty array"),
        ('[functions]\nf = ["cat", 5]', "functions.f[1]: expected a string in quotes, without NUL, found an integer"),
        ('[functions.f]\ncommand = "cat"\ncmd = "cat"', "functions.f.cmd: unknown key; did you mean command?"),
        ('[functions.f]\ncmd = "cat"', "functions.f.cmd: unknown key; did you mean command?"),
        ('[functions.f]\nrun = "cat"', "functions.f.run: unknown key; did you mean command?"),
        (
            '[functions.f]\ncommand = "cat"\nenvironment = {}',
            "functions.f.environment: unknown key; did you mean env?",
        ),
        ('[functions.f]\ncommand = "cat"\nworkdir = "/"', "functions.f.workdir: unknown key; did you mean cwd?"),
        ("[functions.f]", "functions.f.command: expected a command or a service, found nothing"),
        (
            '[functions]\n"" = "cat"',
            'functions."": expected a name: not empty, no control characters, found an empty string',
        ),
        (
            '[functions]\n"a\\u0000" = "cat"',
            'functions."a\\u0000": expected a name: not empty, no control characters, found "a\\u0000"',
        ),
        ('[functions]\na.b = "cat"', 'functions.a: a name with a dot needs quotes; did you mean "a.b"?'),
        ('[functions.a.b.c]\ncommand = "cat"', 'functions.a: a name with a dot needs quotes; did you mean "a.b.c"?'),
        ('defaults = "x"\nfunctions.f = "cat"', 'defaults: expected a table, found "x"'),
        ('launcher = []\nfunctions.f = "cat"', "launcher: expected a table, found an empty array"),
    ],
)
def test_no_usable_functions(text: str, message: str) -> None:
    """A file without usable functions is rejected."""
    assert mistakes_of(text) == [message]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("concurrency = 0", f"concurrency: {SLOTS}, found 0"),
        ('concurrency = "4"', f'concurrency: {SLOTS}, found "4"; did you mean 4?'),
        ("drain_timeout = -1", "drain_timeout: expected a number of seconds from 0 to 604800, found -1"),
        ("drain_timeout = inf", "drain_timeout: expected a number of seconds from 0 to 604800, found inf"),
        ('log_format = "json"', 'log_format: expected "text" or "sls", found "json"'),
        (
            'log_level = "WARN"',
            'log_level: expected "debug", "info", "warning" or "error", found "WARN"; did you mean "warning"?',
        ),
        (
            'tls_server_name = "https://localhost"',
            'tls_server_name: expected a host name or IP address, such as "localhost", found "https://localhost"',
        ),
        ("concurency = 2", "concurency: unknown key; did you mean concurrency?"),
        (
            "cwd = 2",
            "cwd: not known here, it belongs in [defaults] or [functions.NAME]",
        ),
        (
            "xyz = 2",
            f"xyz: unknown key; the keys here are {', '.join(sorted(LauncherTable.__struct_fields__))}",
        ),
    ],
)
def test_a_wrong_launcher_option_is_named(option: str, message: str) -> None:
    assert mistakes_of(f'functions.f = "cat"\n[launcher]\n{option}') == [f"launcher.{message}"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("time_out", "timeout"),
        ("timeOut", "timeout"),
        ("max-output", "max_output"),
        ("maxoutput", "max_output"),
        ("max_output_size", "max_output"),
        ("Env", "env"),
        ("credential", "credentials"),
        ("inherit_environment", "inherit_env"),
        ("comand", "command"),
        ("result-fd", "result_fd"),
        ("maxJobs", "max_jobs"),
        ("idle_time_out", "idle_timeout"),
        ("streaming", "stream"),
        ("process", "processes"),
    ],
)
def test_the_nearest_right_key_is_named(key: str, meant: str) -> None:
    assert mistakes_in_function(f"{key} = 1") == [f"{key}: unknown key; did you mean {meant}?"]


def test_misspelt_command() -> None:
    """A misspelt command is one error: the command is not reported as missing, too."""
    assert mistakes_of('[functions.f]\ncmmand = "cat"') == ["functions.f.cmmand: unknown key; did you mean command?"]


def test_misspelt_table() -> None:
    """A misspelt table is one error: the table is not reported as missing, too."""
    assert mistakes_of('[function]\nf = "cat"') == ["function: unknown key; did you mean functions?"]


def test_a_key_of_another_table_is_sent_there() -> None:
    assert mistakes_in_function("log_level = 1") == ["log_level: not known here, it belongs in [launcher]"]
    assert mistakes_of('functions.f = "cat"\ndefaults.command = "cat"') == [
        "defaults.command: not known here, it belongs in [functions.NAME]"
    ]
    assert mistakes_of('functions.f = "cat"\ntimeout = 5') == [
        "timeout: not known here, it belongs in [defaults] or [functions.NAME]"
    ]


def test_function_outside_its_table() -> None:
    """The error for a function at the top level names the table [functions]."""
    known = "the keys here are defaults, functions, launcher, services, tests, types"
    assert mistakes_of('double = "jq"\n[functions]\nf = "cat"') == [
        f"double: not known here, a function belongs in [functions]; {known}"
    ]
    assert mistakes_of('functions.f = "cat"\n[double]\ncommand = "jq"') == [
        f"double: not known here, a function belongs in [functions]; {known}"
    ]
    assert mistakes_of('functions.f = "cat"\n[[double]]\nx = "jq"') == [f"double: unknown key; {known}"]
    assert mistakes_of('double = ["jq"]\nfunctions.f = "cat"') == [
        f"double: not known here, a function belongs in [functions]; {known}"
    ]
    assert mistakes_of('double = 5\nfunctions.f = "cat"') == [f"double: unknown key; {known}"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("mode = 1", f"mode: {MODE}, found 1"),
        ("mode = true", f"mode: {MODE}, found true"),
        ('mode = ""', f"mode: {MODE}, found an empty string"),
        ('mode = ["spawn"]', f"mode: {MODE}, found an array"),
        ('mode = "fork"', f'mode: {MODE}, found "fork"'),
        ('mode = "Persistent"', f'mode: {MODE}, found "Persistent"; did you mean "persistent"?'),
        ('mode = "pre-spawn"', f'mode: {MODE}, found "pre-spawn"; did you mean "prespawn"?'),
        ("stream = 0", 'stream: expected true, false or "sse", found 0'),
        ('stream = "true"', 'stream: expected true, false or "sse", found "true"; did you mean true?'),
        ("result_fd = true", "result_fd: expected 1 or 3, found true"),
        ("result_fd = 1.0", "result_fd: expected 1 or 3, found 1.0; did you mean 1?"),
        ("result_fd = 2", "result_fd: expected 1 or 3, found 2"),
        ("result_fd = 0", "result_fd: expected 1 or 3, found 0"),
        ('result_fd = "3"', 'result_fd: expected 1 or 3, found "3"; did you mean 3?'),
        ('result_fd = "stdout"', 'result_fd: expected 1 or 3, found "stdout"'),
        ("protocol = 1", f"protocol: {PROTOCOL}, found 1"),
        ('protocol = "lsp"', f'protocol: {PROTOCOL}, found "lsp"'),
        ('protocol = "line"', f'protocol: {PROTOCOL}, found "line"; did you mean "lines"?'),
        (
            'protocol = "Content_Length"',
            f'protocol: {PROTOCOL}, found "Content_Length"; did you mean "content-length"?',
        ),
        ("envelope = 1", "envelope: expected true or false, found 1"),
        ('envelope = "yes"', 'envelope: expected true or false, found "yes"'),
        ("processes = 0", f"processes: {SLOTS}, found 0"),
        ("processes = 10001", f"processes: {SLOTS}, found 10001"),
        ("processes = true", f"processes: {SLOTS}, found true"),
        ("processes = 1.5", f"processes: {SLOTS}, found 1.5"),
        ('processes = "auto"', f'processes: {SLOTS}, found "auto"'),
        ("max_jobs = 0", f"max_jobs: {JOBS}, found 0"),
        ("max_jobs = -1", f"max_jobs: {JOBS}, found -1"),
        ("max_jobs = true", f"max_jobs: {JOBS}, found true"),
        ("max_jobs = 1.0", f"max_jobs: {JOBS}, found 1.0; did you mean 1?"),
        ("max_jobs = inf", f"max_jobs: {JOBS}, found inf"),
        ('max_jobs = "100"', f'max_jobs: {JOBS}, found "100"; did you mean 100?'),
        ("idle_timeout = -1", f"idle_timeout: {SECONDS}, found -1"),
        ("idle_timeout = 604801", f"idle_timeout: {SECONDS}, found 604801"),
        ("idle_timeout = nan", f"idle_timeout: {SECONDS}, found nan"),
        ("idle_timeout = true", f"idle_timeout: {SECONDS}, found true"),
        (f"idle_timeout = 1{'0' * 400}", f"idle_timeout: {SECONDS}, found a huge integer"),
        ('idle_timeout = "10 min"', f'idle_timeout: {SECONDS}, found "10 min"; did you mean 600?'),
        ('idle_timeout = "never"', f'idle_timeout: {SECONDS}, found "never"'),
    ],
)
def test_a_wrong_value_of_a_mode_s_key_is_named(option: str, message: str) -> None:
    assert mistakes_in_function(option) == [message]


@pytest.mark.parametrize("name", sorted(CONNECTION_VARIABLES))
def test_connection_variables(name: str) -> None:
    """A function cannot inherit or set a variable of the connection to the runtime."""
    assert mistakes_in_function(f'inherit_env = ["PATH", "{name}"]') == [f"inherit_env[1]: {name} {CONNECTION}"]
    assert mistakes_in_function(f'env.{name} = "x"') == [f"env.{name}: {name} {CONNECTION}"]


@pytest.mark.parametrize("name", sorted(JOB_VARIABLES))
def test_job_variables(name: str) -> None:
    """A function cannot inherit or set a variable that cm-exec sets for each job."""
    assert mistakes_in_function(f'inherit_env = ["{name}"]') == [
        f"inherit_env[0]: {name} is set by cm-exec for each job"
    ]
    assert mistakes_of(f'functions.f = "cat"\ndefaults.env.{name} = "x"') == [
        f"defaults.env.{name}: {name} is set by cm-exec for each job"
    ]


def test_all_mistakes_are_reported_at_once() -> None:
    text = """
        comment = 1
        [defaults]
        timeout = true
        [launcher]
        log_level = "loud"
        [functions]
        empty = ""
        [functions.f]
        command = ["a", 1, "b", 2]
        timeout = -1
        env = { CM_JOB_ID = "x", A = 1, B = 2 }
        tiemout = 5
        mode = "persistant"
    """
    keys = [mistake.split(": ")[0] for mistake in mistakes_of(text)]
    assert keys == [
        "comment",
        "defaults.timeout",
        "launcher.log_level",
        "functions.empty",
        "functions.f.command[1]",
        "functions.f.command[3]",
        "functions.f.timeout",
        "functions.f.env.CM_JOB_ID",
        "functions.f.env.A",
        "functions.f.env.B",
        "functions.f.mode",
        "functions.f.tiemout",
    ]


def test_error_text() -> None:
    """Each line of an error's text names the file and the key."""
    with pytest.raises(ConfigError) as caught:
        parse_config('[functions."a b"]\ntimeout = -1', path=Path("/srv/cm.toml"), shown_as=Path("conf/cm.toml"))
    assert str(caught.value) == (
        f'conf/cm.toml: functions."a b".timeout: {SECONDS}, found -1 (line 2)\n'
        'conf/cm.toml: functions."a b".command: expected a command or a service, found nothing (line 1)'
    )
    assert caught.value.path == Path("conf/cm.toml")
    assert caught.value.exit_code == 3


def test_no_error_shows_what_may_be_a_secret() -> None:
    text = """
        [functions]
        a = ["curl", "-H", "s3cret\\u0000"]
        b = "echo s3cret\\u0000"
        [functions.f]
        command = ["curl", "s3cret\\u0000", { x = "s3cret" }]
        env = { TOKEN = "s3cret\\u0000", LIST = ["s3cret"] }
        [functions.g]
        command = "x"
        env = "s3cret"
        unknown_key = "s3cret"
    """
    mistakes = mistakes_of(text)
    assert len(mistakes) == 8
    assert "s3cret" not in "\n".join(mistakes)


def test_a_long_value_is_cut() -> None:
    (mistake,) = mistakes_in_function(f'output = "{"x" * 5000}"')
    assert mistake == f'output: expected "bytes", "json" or "text", found "{"x" * 60}…"'


def test_a_long_key_is_cut() -> None:
    (mistake,) = mistakes_of(f"functions.{'x' * 5000} = 5")
    assert mistake == f'functions."{"x" * 60}…": {ENTRY}, found an integer'
