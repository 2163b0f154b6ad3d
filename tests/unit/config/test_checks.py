"""Options that do not go together, and options that stand in [defaults] for some of the functions only."""

from pathlib import Path

import pytest

from cm_exec.config import Config, ConfigError, parse_config

PERSISTENT = 'mode = "persistent"\n'
PRESPAWN = 'mode = "prespawn"\n'
NEEDS_PERSISTENT = 'it needs mode = "persistent"'
NOT_FOR_PERSISTENT = 'stream: cannot be with mode = "persistent", whose results are whole lines or frames'
FROM_DEFAULTS = "; it comes from [defaults]"


def read(own: str, defaults: str = "") -> Config:
    return parse_config(f'[defaults]\n{defaults}\n[functions.f]\ncommand = "cat"\n{own}', path=Path("/srv/cm.toml"))


def mistakes(own: str, defaults: str = "") -> list[str]:
    """The problems of a function `f`, without the start of their key."""
    with pytest.raises(ConfigError) as caught:
        read(own, defaults)
    return [str(problem).removeprefix("functions.f.") for problem in caught.value.problems]


ONLY_PERSISTENT = {
    "framing": 'framing = "content-length"',
    "envelope": "envelope = true",
    "processes": "processes = 2",
    "max_jobs": "max_jobs = 5",
}


@pytest.mark.parametrize("key", ONLY_PERSISTENT)
@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_what_is_for_persistent_processes_is_refused_in_the_other_modes(key: str, mode: str) -> None:
    message = f'{key}: has no meaning with mode = "{mode}"; {NEEDS_PERSISTENT}'
    assert mistakes(f'mode = "{mode}"\n{ONLY_PERSISTENT[key]}') == [message]
    assert mistakes(ONLY_PERSISTENT[key], f'mode = "{mode}"') == [message]
    assert read(f'mode = "persistent"\n{ONLY_PERSISTENT[key]}', f'mode = "{mode}"').functions


def test_the_mode_is_spawn_where_none_is_said() -> None:
    assert mistakes("max_jobs = 5") == [f'max_jobs: has no meaning with mode = "spawn"; {NEEDS_PERSISTENT}']


@pytest.mark.parametrize("mode", ["prespawn", "persistent"])
def test_an_idle_timeout_is_for_processes_that_wait(mode: str) -> None:
    assert read(f'mode = "{mode}"\nidle_timeout = 5').functions["f"].idle_timeout == 5
    assert mistakes("idle_timeout = 5") == [
        'idle_timeout: has no meaning with mode = "spawn"; it needs mode = "prespawn" or "persistent"'
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (f"{PERSISTENT}stream = true", [NOT_FOR_PERSISTENT]),
        (
            'stream = true\noutput = "json"',
            ['stream: cannot be with output = "json", which needs the whole result before it is posted'],
        ),
        (
            'stream = true\noutput = "text"',
            ['stream: cannot be with output = "text", which needs the whole result before it is posted'],
        ),
        (
            f"{PRESPAWN}credentials = true",
            ['credentials: cannot be with mode = "prespawn": the process is started before its job is known'],
        ),
        (
            f"{PERSISTENT}credentials = true",
            ['credentials: needs envelope = true with mode = "persistent": the tokens are in the envelope'],
        ),
        (
            'stream = true\ncheck_results = true\nreturns = "string"',
            ["check_results: cannot be with stream = true: a result is checked as a whole, before it is posted"],
        ),
        (
            "stream = true\ncheck_results = true",
            ["check_results: needs returns, the type to check a result against"],
        ),
        (
            f'{PERSISTENT}stream = true\noutput = "json"',
            [
                NOT_FOR_PERSISTENT,
                'stream: cannot be with output = "json", which needs the whole result before it is posted',
            ],
        ),
        (
            "envelope = true\nmax_jobs = 1",
            [
                f'envelope: has no meaning with mode = "spawn"; {NEEDS_PERSISTENT}',
                f'max_jobs: has no meaning with mode = "spawn"; {NEEDS_PERSISTENT}',
            ],
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options: str, expected: list[str]) -> None:
    assert mistakes(options) == expected


@pytest.mark.parametrize(
    "options",
    [
        "stream = true\nresult_fd = 3",
        "stream = true\ncredentials = true",
        f"{PRESPAWN}stream = true\nresult_fd = 3",
        f"{PERSISTENT}stream = false\nresult_fd = 3",
        f'{PERSISTENT}output = "json"\nframing = "content-length"\nenvelope = true\ncredentials = true',
        f'{PERSISTENT}envelope = false\nframing = "lines"\noutput = "text"\ncredentials = false',
        f"{PERSISTENT}max_concurrency = 2\nprocesses = 4",
        'stream = true\nreturns = "string"',
        "stream = true\ncheck_queries = true\ninputs = {}",
        f'{PERSISTENT}check_queries = true\ninputs = {{}}\ncheck_results = true\nreturns = "string"',
    ],
)
def test_what_goes_together_is_taken(options: str) -> None:
    assert read(options).functions


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_an_option_for_one_mode_may_stand_in_defaults_for_functions_of_another(mode: str) -> None:
    defaults = "\n".join([*ONLY_PERSISTENT.values(), "idle_timeout = 60"])
    assert read(f'mode = "{mode}"', defaults).functions["f"].mode == mode
    assert read(PERSISTENT, defaults).functions["f"].max_jobs == 5


def test_a_short_function_takes_no_offence_at_defaults_for_another_mode() -> None:
    text = '[defaults]\nprocesses = 2\nidle_timeout = 60\n[functions]\nf = "cat"'
    assert parse_config(text, path=Path("/srv/cm.toml")).functions["f"].mode == "spawn"


def test_a_contradiction_with_defaults_is_refused_and_says_where_the_option_stands() -> None:
    assert mistakes(PERSISTENT, "stream = true") == [f"{NOT_FOR_PERSISTENT}{FROM_DEFAULTS}"]
    assert mistakes("stream = true", PERSISTENT) == [NOT_FOR_PERSISTENT]
    assert mistakes(PRESPAWN, "credentials = true") == [
        f'credentials: cannot be with mode = "prespawn": the process is started before its job is known{FROM_DEFAULTS}'
    ]
    assert mistakes('output = "json"', "stream = true") == [
        f'stream: cannot be with output = "json", which needs the whole result before it is posted{FROM_DEFAULTS}'
    ]


def test_a_short_function_contradicts_nothing_but_defaults() -> None:
    text = '[defaults]\nmode = "persistent"\nstream = true\n[functions]\nf = "cat"'
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=Path("/srv/cm.toml"))
    assert [str(problem) for problem in caught.value.problems] == [f"functions.f.{NOT_FOR_PERSISTENT}{FROM_DEFAULTS}"]


def test_a_function_can_take_back_what_defaults_say() -> None:
    assert read(f"{PERSISTENT}stream = false", "stream = true").functions["f"].stream is False
    assert read('mode = "spawn"\ncredentials = true', PRESPAWN).functions["f"].credentials is True
    assert read(f"{PERSISTENT}envelope = true", "credentials = true").functions["f"].envelope is True


def test_checks_in_defaults_leave_a_stream_without_a_type_alone() -> None:
    assert read("stream = true", "check_results = true").functions["f"].stream is True
    (mistake,) = mistakes('stream = true\nreturns = "string"', "check_results = true")
    assert mistake.startswith("check_results: cannot be with stream = true")
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
def test_a_wrong_option_is_one_mistake_and_not_two(own: str, defaults: str, key: str) -> None:
    assert [mistake.split(": ")[0] for mistake in mistakes(own, defaults)] == [key.removeprefix("functions.f.")]


def test_a_right_option_of_the_function_makes_up_for_a_wrong_default() -> None:
    assert mistakes('mode = "spawn"\nmax_jobs = 5', 'mode = "persistant"') == [
        'defaults.mode: expected "spawn", "prespawn" or "persistent", found "persistant"; did you mean "persistent"?',
        f'max_jobs: has no meaning with mode = "spawn"; {NEEDS_PERSISTENT}',
    ]
