"""Options that cannot be combined, and options in [defaults] that have a meaning for some functions only."""

from pathlib import Path

import pytest

from cm_exec.config import Config
from cm_exec.config.load import parse_config
from cm_exec.errors import ConfigError

PERSISTENT = 'mode = "persistent"\n'
PRESPAWN = 'mode = "prespawn"\n'
CHUNKS = "stream: needs a service with envelope = true: each chunk is a message that names its job"
FROM_DEFAULTS = "; it comes from [defaults]"


def read(own: str, defaults: str = "") -> Config:
    return parse_config(f'[defaults]\n{defaults}\n[functions.f]\ncommand = "cat"\n{own}', path=Path("/srv/cm.toml"))


def mistakes(own: str, defaults: str = "") -> list[str]:
    """Return the problems of a function `f`, without the start of their key."""
    with pytest.raises(ConfigError) as caught:
        read(own, defaults)
    return [str(problem).removeprefix("functions.f.") for problem in caught.value.problems]


ONLY_PERSISTENT = {
    "protocol": 'protocol = "content-length"',
    "envelope": "envelope = true",
    "processes": "processes = 2",
    "jobs_per_process": "jobs_per_process = 16",
    "ready": 'ready = "message"',
    "start_timeout": "start_timeout = 600",
    "max_jobs": "max_jobs = 5",
}


def only_with(mode: str, modes: str = '"persistent"') -> str:
    return f'only valid with mode = {modes}; this function uses "{mode}"'


@pytest.mark.parametrize("key", ONLY_PERSISTENT)
@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_service_options_need_mode_persistent(key: str, mode: str) -> None:
    message = f"{key}: {only_with(mode)}"
    assert mistakes(f'mode = "{mode}"\n{ONLY_PERSISTENT[key]}') == [message]
    assert mistakes(ONLY_PERSISTENT[key], f'mode = "{mode}"') == [message]
    assert read(f'mode = "persistent"\n{ONLY_PERSISTENT[key]}', f'mode = "{mode}"').functions


@pytest.mark.parametrize("key", ["url = 'http://127.0.0.1:8000'", "request = 'GET /'", "query = ['q']"])
def test_http_options_need_mode_persistent(key: str) -> None:
    assert mistakes(key) == [f"{key.partition(' ')[0]}: {only_with('spawn')}"]


def test_the_default_mode_is_spawn() -> None:
    assert mistakes("max_jobs = 5") == [f"max_jobs: {only_with('spawn')}"]


@pytest.mark.parametrize("mode", ["prespawn", "persistent"])
def test_idle_timeout_needs_a_mode(mode: str) -> None:
    """An idle timeout needs a mode with waiting processes."""
    assert read(f'mode = "{mode}"\nidle_timeout = 5').functions["f"].idle_timeout == 5
    message = only_with("spawn", modes='"prespawn" or "persistent"')
    assert mistakes("idle_timeout = 5") == [f"idle_timeout: {message}"]


@pytest.mark.parametrize("key", ["job_dir", "error_output"])
def test_options_of_one_process_per_job(key: str) -> None:
    assert read(f"{PRESPAWN}{key} = true").functions
    message = only_with("persistent", modes='"spawn" or "prespawn"')
    assert mistakes(f"{PERSISTENT}{key} = true") == [f"{key}: {message}"]
    assert read(PERSISTENT, f"{key} = true").functions


def cannot_stream(output: str) -> str:
    return f'stream: cannot be combined with output = "{output}", which needs the whole result before it is posted'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (f"{PERSISTENT}stream = true", [CHUNKS]),
        ('stream = true\noutput = "json"', [cannot_stream("json")]),
        ('stream = true\noutput = "text"', [cannot_stream("text")]),
        (
            f"{PRESPAWN}credentials = true",
            ['credentials: cannot be combined with mode = "prespawn": the process is started before its job is known'],
        ),
        (
            f"{PERSISTENT}credentials = true",
            ['credentials: needs envelope = true with protocol = "lines": the tokens are in the envelope'],
        ),
        (
            'stream = true\ncheck_results = true\nreturns = "string"',
            ["check_results: cannot be combined with stream: a result is checked as a whole, before it is posted"],
        ),
        (
            "stream = true\ncheck_results = true",
            ["check_results: needs returns, the type to check a result against"],
        ),
        (
            "stream = true\nerror_output = true",
            ["error_output: cannot be combined with stream: the output has been posted already"],
        ),
        (
            'stream = "sse"',
            ['stream: "sse" is only valid with an HTTP service; this function uses mode = "spawn"'],
        ),
        (
            f'{PERSISTENT}stream = "sse"\nenvelope = true',
            ['stream: "sse" is only valid with protocol = "http"; this function\'s service uses "lines"'],
        ),
        (f'{PERSISTENT}stream = true\noutput = "json"', [CHUNKS, cannot_stream("json")]),
        (
            "envelope = true\nmax_jobs = 1",
            [f"envelope: {only_with('spawn')}", f"max_jobs: {only_with('spawn')}"],
        ),
        (
            f"{PERSISTENT}jobs_per_process = 2\nenvelope = false",
            ["envelope: cannot be false with jobs_per_process above 1: results name their job"],
        ),
        (
            f'{PERSISTENT}ready = "/health"',
            ['ready: expected "read" or "message" with protocol = "lines", found "/health"'],
        ),
    ],
)
def test_options_that_cannot_be_combined(options: str, expected: list[str]) -> None:
    assert mistakes(options) == expected


@pytest.mark.parametrize(
    "options",
    [
        "stream = true\nresult_fd = 3",
        "stream = true\ncredentials = true",
        f"{PRESPAWN}stream = true\nresult_fd = 3",
        f"{PERSISTENT}stream = false\nresult_fd = 3",
        f'{PERSISTENT}output = "json"\nprotocol = "content-length"\nenvelope = true\ncredentials = true',
        f'{PERSISTENT}envelope = false\nprotocol = "lines"\noutput = "text"\ncredentials = false',
        f"{PERSISTENT}max_concurrency = 2\nprocesses = 4",
        f"{PERSISTENT}stream = true\nenvelope = true",
        f"{PERSISTENT}stream = true\njobs_per_process = 4\ncredentials = true",
        'stream = true\nreturns = "string"',
        "stream = true\ncheck_queries = true\ninputs = {}",
        f'{PERSISTENT}check_queries = true\ninputs = {{}}\ncheck_results = true\nreturns = "string"',
    ],
)
def test_what_goes_together_is_taken(options: str) -> None:
    assert read(options).functions


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_defaults_for_another_mode(mode: str) -> None:
    """Defaults may contain options that only another mode has."""
    defaults = "\n".join([*ONLY_PERSISTENT.values(), "idle_timeout = 60"])
    assert read(f'mode = "{mode}"', defaults).functions["f"].mode == mode
    assert read(PERSISTENT, defaults).services["f"].max_jobs == 5


def test_short_function_ignores_mode_defaults() -> None:
    """Defaults for another mode do not invalidate a function that is only a command."""
    text = '[defaults]\nprocesses = 2\nidle_timeout = 60\n[functions]\nf = "cat"'
    assert parse_config(text, path=Path("/srv/cm.toml")).functions["f"].mode == "spawn"


def test_a_conflict_with_defaults_says_so() -> None:
    assert mistakes(PERSISTENT, "stream = true") == [f"{CHUNKS}{FROM_DEFAULTS}"]
    assert mistakes("stream = true", PERSISTENT) == [CHUNKS]
    prespawn = 'credentials: cannot be combined with mode = "prespawn": the process is started before its job is known'
    assert mistakes(PRESPAWN, "credentials = true") == [f"{prespawn}{FROM_DEFAULTS}"]
    assert mistakes('output = "json"', "stream = true") == [f"{cannot_stream('json')}{FROM_DEFAULTS}"]


def test_short_function_conflicts_with_defaults() -> None:
    """A conflict of a function that is only a command is reported against the defaults."""
    text = '[defaults]\nmode = "persistent"\nstream = true\n[functions]\nf = "cat"'
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=Path("/srv/cm.toml"))
    assert [str(problem) for problem in caught.value.problems] == [f"functions.f.{CHUNKS}{FROM_DEFAULTS}"]


def test_a_function_overrides_defaults() -> None:
    assert read(f"{PERSISTENT}stream = false", "stream = true").functions["f"].stream is False
    assert read('mode = "spawn"\ncredentials = true', PRESPAWN).functions["f"].credentials is True
    assert read(f"{PERSISTENT}envelope = true", "credentials = true").services["f"].envelope is True


def test_default_checks_and_untyped_stream() -> None:
    """A default for checks does not apply to a stream without a type."""
    assert read("stream = true", "check_results = true").functions["f"].stream is True
    (mistake,) = mistakes('stream = true\nreturns = "string"', "check_results = true")
    assert mistake.startswith("check_results: cannot be combined with stream")
    assert mistake.endswith(FROM_DEFAULTS)


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_a_default_for_another_mode_has_no_effect(mode: str) -> None:
    defaults = "\n".join(ONLY_PERSISTENT.values())
    assert read(f'mode = "{mode}"', defaults) == read(f'mode = "{mode}"')
    assert read("", "idle_timeout = 60") == read("")


@pytest.mark.parametrize(
    ("own", "defaults", "key"),
    [
        ('mode = "persistant"\nmax_jobs = 5', "", "functions.f.mode"),
        ('mod = "persistent"\nmax_jobs = 5', "", "functions.f.mod"),
        ("max_jobs = 5", 'mode = "persistant"', "defaults.mode"),
        ("max_jobs = 5", 'mod = "persistent"', "defaults.mod"),
        ('mode = "persistent"\ncredentials = true\nenvelope = "yes"', "", "functions.f.envelope"),
        ('mode = "spwan"\ncredentials = true', 'mode = "prespawn"', "functions.f.mode"),
        ('mode = "persistent"\nstream = "no"', "stream = true", "functions.f.stream"),
        ('stream = true\noutput = "bites"', 'output = "json"', "functions.f.output"),
    ],
)
def test_wrong_option(own: str, defaults: str, key: str) -> None:
    """A wrong option is one error: no conflict is reported for it, too."""
    assert [mistake.split(": ")[0] for mistake in mistakes(own, defaults)] == [key.removeprefix("functions.f.")]


def test_wrong_default_under_a_valid_option() -> None:
    """A function's own valid option is used although the default of the same key is wrong."""
    assert mistakes('mode = "spawn"\nmax_jobs = 5', 'mode = "persistant"') == [
        'defaults.mode: expected "spawn", "prespawn" or "persistent", found "persistant"; did you mean "persistent"?',
        f"max_jobs: {only_with('spawn')}",
    ]
