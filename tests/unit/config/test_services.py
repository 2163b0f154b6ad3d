"""Services: what a valid file means, and the errors of invalid ones."""

from pathlib import Path

import pytest

from cm_exec.config import Config, HttpRequest, ServerAddress, Service
from cm_exec.config.load import parse_config
from cm_exec.config.schema.keys import MAX_SLOTS
from cm_exec.errors import ConfigError

FOLDER = Path("/srv/module")
MODEL = '[services.model]\ncommand = ["python3", "model.py"]\n'
API = '[services.api]\nprotocol = "http"\nurl = "http://127.0.0.1:8000"\n'
USER = '[functions.embed]\nservice = "model"\n'

OPTIONS = """
command = "model"
protocol = "content-length"
processes = 2
jobs_per_process = 16
ready = "message"
start_timeout = 600
max_jobs = 10_000
idle_timeout = 60
env = { MODEL = "/models/a" }
cwd = "models"
inherit_env = ["PATH"]
credentials = true
result_fd = 3
"""


def read(text: str) -> Config:
    return parse_config(text, path=FOLDER / "cm.toml")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def api(options: str, function: str = "") -> str:
    return f'{API}{options}\n[functions.f]\nservice = "api"\n{function}'


def test_a_service_has_defaults() -> None:
    config = read(f"{MODEL}{USER}")
    service = Service(
        name="model",
        command=("python3", "model.py"),
        env={},
        cwd=FOLDER,
        inherit_env=None,
        functions=("embed",),
    )
    assert config.services == {"model": service}
    function = config.functions["embed"]
    assert function.service == service
    assert function.argv == service.argv == ("python3", "model.py")
    assert (function.mode, function.timeout) == ("persistent", 300)


def test_a_service_sets_every_option() -> None:
    config = read(f"[services.model]\n{OPTIONS}\n{USER}")
    assert config.services["model"] == Service(
        name="model",
        command="model",
        protocol="content-length",
        envelope=True,
        processes=2,
        jobs_per_process=16,
        ready="message",
        start_timeout=600,
        max_jobs=10_000,
        idle_timeout=60,
        env={"MODEL": "/models/a"},
        cwd=FOLDER / "models",
        inherit_env=("PATH",),
        credentials=True,
        result_fd=3,
        functions=("embed",),
    )
    function = config.functions["embed"]
    assert (function.credentials, function.cwd, function.result_fd) == (True, FOLDER / "models", 3)


def test_service_options_on_a_function() -> None:
    """A persistent function accepts each option of a service."""
    short = read(f'[functions.embed]\nmode = "persistent"\n{OPTIONS}')
    named = read(f'[services.embed]\n{OPTIONS}\n[functions.embed]\nservice = "embed"')
    assert short == named


def test_an_http_service() -> None:
    config = read(api('command = "serve"\nready = "/health"', 'request = "GET /items/{id}"\nquery = ["q"]'))
    service = config.services["api"]
    assert (service.protocol, service.ready, service.processes) == ("http", "/health", 1)
    assert service.jobs_per_process == MAX_SLOTS
    assert service.address == ServerAddress(host="127.0.0.1", port=8000)
    request = HttpRequest(method="GET", path="/items/{id}", path_inputs=("id",), query=("q",))
    assert config.functions["f"].request == request
    assert not request.has_body


def test_default_request() -> None:
    """The default request is a POST to the function's name."""
    config = read(f'{API}[functions."report daily"]\nservice = "api"')
    request = config.functions["report daily"].request
    assert request == HttpRequest(method="POST", path="/report%20daily")
    assert request.has_body


def test_server_without_a_command() -> None:
    """The address of a server that cm-exec does not start replaces the command."""
    config = read(api(""))
    assert config.services["api"].command is None
    assert config.functions["f"].argv == ()
    short = read('[functions.f]\nmode = "persistent"\nprotocol = "http"\nurl = "http://localhost:80"')
    assert short.services["f"].address == ServerAddress(host="localhost", port=80)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost", ServerAddress(host="localhost", port=80)),
        ("http://127.0.0.1:8000/", ServerAddress(host="127.0.0.1", port=8000)),
        ("http://127.1.2.3:1", ServerAddress(host="127.1.2.3", port=1)),
        ("http://[::1]", ServerAddress(host="::1", port=80)),
        ("http://[::1]:8000", ServerAddress(host="::1", port=8000)),
        ("unix:/run/api.sock", ServerAddress(socket="/run/api.sock")),
    ],
)
def test_urls_of_servers(url: str, address: ServerAddress) -> None:
    text = f'[services.api]\nprotocol = "http"\nurl = "{url}"\n[functions.f]\nservice = "api"'
    assert read(text).services["api"].address == address


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://example.com:8000", '; did you mean "http://127.0.0.1:8000"?'),
        ("http://0.0.0.0:8000", '; did you mean "http://127.0.0.1:8000"?'),
        ("https://localhost:8000", '; did you mean "http://127.0.0.1:8000"?'),
        ("http://127.0.0.1.example.com", '; did you mean "http://127.0.0.1"?'),
        ("http://localhost@example.com", '; did you mean "http://127.0.0.1"?'),
        ("127.0.0.1:8000", ""),
        ("http://127.0.0.1:8000/api", ""),
        ("unix:api.sock", ""),
    ],
)
def test_a_server_is_never_on_another_host(url: str, hint: str) -> None:
    expected = 'expected the URL of a server in this container or replica: "http://127.0.0.1:PORT" or "unix:/PATH"'
    text = f'[services.api]\nprotocol = "http"\nurl = "{url}"\n[functions.f]\nservice = "api"'
    assert problems(text) == [f'services.api.url: {expected}, found "{url}"{hint}']


@pytest.mark.parametrize("port", [8945, 8946])
def test_the_ports_of_foundry_are_refused(port: int) -> None:
    text = f'[services.api]\nprotocol = "http"\nurl = "http://localhost:{port}"\n[functions.f]\nservice = "api"'
    message = f"port {port} belongs to Foundry's runtime; let the server listen on another one"
    assert problems(text) == [f"services.api.url: {message}"]


@pytest.mark.parametrize("port", [0, 65_536])
def test_a_port_is_a_number_of_16_bits(port: int) -> None:
    text = f'[services.api]\nprotocol = "http"\nurl = "http://localhost:{port}"\n[functions.f]\nservice = "api"'
    assert problems(text) == [f"services.api.url: expected a port from 1 to 65535, found {port}"]


@pytest.mark.parametrize(
    ("options", "envelope"),
    [("", False), ("envelope = true", True), ("jobs_per_process = 2", True), ("jobs_per_process = 1", False)],
)
def test_the_envelope_is_implied_by_several_jobs(options: str, envelope: bool) -> None:
    assert read(f"{MODEL}{options}\n{USER}").services["model"].envelope is envelope


def test_implied_envelope() -> None:
    """A service with several functions uses the envelope."""
    other = '[functions.classify]\nservice = "model"\n'
    config = read(f"{MODEL}{USER}{other}")
    assert config.services["model"].envelope
    assert config.services["model"].functions == ("embed", "classify")
    assert problems(f"{MODEL}envelope = false\n{USER}{other}") == [
        (
            "services.model.envelope: cannot be false: "
            "the service has several functions, and a query must name its function"
        )
    ]


def test_credentials() -> None:
    """The service sets a default for credentials, and a function may override it."""
    other = '[functions.classify]\nservice = "model"\ncredentials = false\n'
    config = read(f"{MODEL}credentials = true\n{USER}{other}")
    assert config.functions["embed"].credentials
    assert not config.functions["classify"].credentials
    assert read(api("", "credentials = true")).functions["f"].credentials


def test_defaults_apply_to_services() -> None:
    defaults = '[defaults]\ncwd = "models"\nenv.A = "1"\nmax_jobs = 5\nmode = "prespawn"\ntimeout = 7\njob_dir = true\n'
    config = read(f'{defaults}{MODEL}env.B = "2"\n{USER}')
    service = config.services["model"]
    assert (service.cwd, service.max_jobs, service.env) == (FOLDER / "models", 5, {"A": "1", "B": "2"})
    assert (config.functions["embed"].timeout, config.functions["embed"].job_dir) == (7, False)
    assert read(f"{defaults}{api('')}").services["api"].max_jobs is None


@pytest.mark.parametrize(
    ("stream", "options"),
    [("true", ""), ('"sse"', ""), ("true", 'command = "serve"\nidle_timeout = 5')],
)
def test_an_http_service_streams(stream: str, options: str) -> None:
    assert read(api(options, f"stream = {stream}")).functions["f"].stream in {True, "sse"}


_ONLY_MESSAGES = 'services.api.{}: only valid with protocol = "lines" or "content-length"; this service uses "http"'


@pytest.mark.parametrize(
    ("service", "function", "expected"),
    [
        (
            "",
            'command = "cat"',
            ['functions.f.command: belongs in [services.NAME]: this function uses the service "api"'],
        ),
        (
            "",
            "max_jobs = 5",
            ['functions.f.max_jobs: belongs in [services.NAME]: this function uses the service "api"'],
        ),
        (
            "",
            'mode = "spawn"',
            ['functions.f.mode: cannot be combined with service: this function uses the service "api"'],
        ),
        (
            "",
            "job_dir = true",
            ['functions.f.job_dir: only valid with mode = "spawn" or "prespawn"; this function uses the service "api"'],
        ),
        ("envelope = true", "", [_ONLY_MESSAGES.format("envelope")]),
        ("result_fd = 3", "", [_ONLY_MESSAGES.format("result_fd")]),
        (
            "processes = 2",
            "",
            [
                'services.api.processes: cannot be above 1 with protocol = "http": all would listen on the same url',
                "services.api.processes: needs a command: cm-exec does not start this server",
            ],
        ),
        ("max_jobs = 2", "", ["services.api.max_jobs: needs a command: cm-exec does not start this server"]),
        ('cwd = "x"', "", ["services.api.cwd: needs a command: cm-exec does not start this server"]),
        ('ready = "read"', "", ['services.api.ready: expected a path with protocol = "http", found "read"']),
        (
            'ready = "health"',
            "",
            ['services.api.ready: expected "read", "message", or with protocol = "http" a path, found "health"'],
        ),
        (
            "",
            'request = "get items"',
            [
                (
                    'functions.f.request: expected a method and a path, such as "POST /classify" or "GET /items/{id}", '
                    'found "get items"; did you mean "GET /items"?'
                )
            ],
        ),
        (
            "",
            'inputs = { id = "string" }\nrequest = "GET /items/{ids}"',
            [
                'functions.f.request: expected the name of an input, found "ids"; did you mean "id"?',
            ],
        ),
        (
            "",
            'inputs = { id = "string", q = "string" }\nrequest = "DELETE /items/{id}"',
            ['functions.f.query: expected the other inputs: DELETE has no body: put "q" into the path or here'],
        ),
        (
            "",
            'inputs = { id = "string" }\nrequest = "GET /items/{id}"\nquery = ["xyz"]',
            ['functions.f.query: expected the name of an input, found "xyz"; the inputs are "id"'],
        ),
        (
            "",
            'request = "GET /items/{id}"\nquery = ["id"]',
            ['functions.f.query: the input "id" is used twice'],
        ),
        ("", 'query = ["a"]\nbody = "a"', ['functions.f.body: the input "a" is used twice']),
        (
            "",
            'request = "GET /"\nbody = "a"',
            ["functions.f.body: only valid with POST, PUT or PATCH; this request is GET"],
        ),
        (
            "",
            'inputs = { a = "string", b = "string" }\nbody = "a"',
            ['functions.f.query: expected the other inputs: the body is another input: put "b" into the path or here'],
        ),
    ],
)
def test_conflicts_of_http_services(service: str, function: str, expected: list[str]) -> None:
    """Options that an HTTP service cannot combine are rejected."""
    assert problems(api(service, function)) == expected


@pytest.mark.parametrize(
    ("service", "function", "expected"),
    [
        (
            "url = 'http://localhost'",
            "",
            'services.model.url: only valid with protocol = "http"; this service uses "lines"',
        ),
        (
            "",
            "request = 'GET /'",
            'functions.embed.request: only valid with protocol = "http"; this function\'s SERVICE',
        ),
        ("", "query = ['q']", 'functions.embed.query: only valid with protocol = "http"; this function\'s SERVICE'),
        (
            "",
            'stream = "sse"',
            'functions.embed.stream: "sse" is only valid with protocol = "http"; this function\'s SERVICE',
        ),
        (
            "",
            "stream = true",
            "functions.embed.stream: needs a service with envelope = true: each chunk is a message that names its job",
        ),
        (
            "",
            "credentials = true",
            "functions.embed.credentials: needs envelope = true in [services.NAME]: the tokens are in the envelope",
        ),
        (
            "credentials = true",
            "",
            'services.model.credentials: needs envelope = true with protocol = "lines": the tokens are in the envelope',
        ),
        (
            "start_timeout = 0",
            "",
            "services.model.start_timeout: expected a number of seconds above 0, up to 604800, found 0",
        ),
        (
            "timeout = 5",
            "",
            "services.model.timeout: not known here, it belongs in [defaults] or [functions.NAME]; HINT",
        ),
        ("framing = 'lines'", "", "services.model.framing: unknown key; did you mean protocol?"),
        (
            "protocol = 'HTTP'",
            "",
            'services.model.protocol: expected "lines", "content-length" or "http", found "HTTP"; did you mean "http"?',
        ),
    ],
)
def test_conflicts_of_message_services(service: str, function: str, expected: str) -> None:
    """Options that a service with messages cannot combine are rejected."""
    text = f"{MODEL}{service}\n{USER}{function}"
    assert problems(text) == [
        expected.replace("HINT", "did you mean idle_timeout?").replace("SERVICE", 'service uses "lines"')
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'{MODEL}[functions.embed]\nservice = "modle"',
            [
                'services.model: no function uses this service; a function does so with service = "model"',
                'functions.embed.service: expected the name of a service, found "modle"; did you mean "model"?',
            ],
        ),
        (
            '[functions.embed]\nservice = "model"',
            ['functions.embed.service: expected the name of a service, found "model"; there is no [services.model]'],
        ),
        (
            "[services.model]\n" + USER,
            [
                (
                    'services.model.command: expected a command: a string for /bin/sh, or an array such as ["python3", '
                    '"main.py"], found nothing'
                )
            ],
        ),
        (
            '[services.api]\nprotocol = "http"\ncommand = "serve"\n[functions.f]\nservice = "api"',
            ["services.api.url: expected the URL of the server, found nothing"],
        ),
        (
            f'{MODEL}{USER}[functions.model]\nmode = "persistent"\ncommand = "cat"',
            ['functions.model.mode: "persistent" makes a service of this name; rename [services.model]'],
        ),
        ('services = 5\nfunctions.f = "cat"', ["services: expected a table of services, found 5"]),
        (f"services.model = 'cat'\n{USER}", ['services.model: expected a table, found "cat"']),
        (
            f"{MODEL}comand = 'x'\nmax_jobs = 0\n{USER}stream = 1",
            [
                "services.model.max_jobs: expected an integer, 1 or more, found 0",
                "services.model.comand: unknown key; did you mean command?",
                'functions.embed.stream: expected true, false or "sse", found 1',
            ],
        ),
    ],
)
def test_invalid_services(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_wait_for_services() -> None:
    assert read('functions.f = "cat"').launcher.wait_for_services
    assert not read('functions.f = "cat"\n[launcher]\nwait_for_services = false').launcher.wait_for_services
