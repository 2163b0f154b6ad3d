"""`cm-exec schema`, and queries and results that are not as declared."""

import json

import pytest

from cm_exec.config.schema.json_schema import cm_toml_schema_text
from tests.support.answers import error_of
from tests.support.request_log import Endpoint
from tests.support.toml import function
from tests.support.tools import needs
from tests.support.worker_harness import WorkerHarness

TYPED = """
[types.Point]
x = "double"
y = { type = "double", description = "upwards" }

[functions.measure]
command = "cat"
description = "The length of a line"
inputs.points = { type = "list<Point>", description = "in order" }
inputs.digits = { type = "optional<integer>", min = 0, max = 15 }
inputs.price = { type = "decimal(10, 2)", max = "99.90" }
returns = "double"

[functions]
plain = "cat"
"""


def test_printed_schema(harness: WorkerHarness) -> None:
    """The command prints the schema that the worker posts, byte for byte."""
    worker = harness.start(TYPED)
    (request,) = harness.runtime.request_log.all(Endpoint.SCHEMA)
    posted = bytes(request.body)
    printed = harness.cm_exec("schema")
    assert printed.returncode == 0
    assert printed.stdout == posted
    assert b'"max":99.90' in posted
    assert [schema["functionName"] for schema in json.loads(posted)] == ["measure", "plain"]
    assert worker.stop() == 0


def test_pretty_is_the_same_for_people(harness: WorkerHarness) -> None:
    harness.write(TYPED)
    pretty = harness.cm_exec("schema", "--pretty")
    assert json.loads(pretty.stdout) == json.loads(harness.cm_exec("schema").stdout)
    assert b'\n  {\n    "functionName": "measure",\n' in pretty.stdout
    assert b'"max": 99.90' in pretty.stdout
    assert pretty.stdout.endswith(b"]\n")


def test_config(harness: WorkerHarness) -> None:
    """The option --config without a value prints the JSON Schema of cm.toml."""
    for option in ("--config", "-c"):
        printed = harness.cm_exec("schema", option)
        assert printed.returncode == 0
        assert printed.stdout.decode() == cm_toml_schema_text()


def test_config_with_a_path_names_the_file(harness: WorkerHarness) -> None:
    harness.folder.joinpath("other.toml").write_text(function("elsewhere", "cat"))
    for arguments in (["--config", "other.toml"], ["--config=other.toml"], ["-c", "other.toml"]):
        (schema,) = json.loads(harness.cm_exec("schema", *arguments).stdout)
        assert schema["functionName"] == "elsewhere"
    (schema,) = json.loads(harness.cm_exec("schema", environment={"CM_EXEC_CONFIG": "other.toml"}).stdout)
    assert schema["functionName"] == "elsewhere"


def test_wrong_type(harness: WorkerHarness) -> None:
    """A wrong type is exit code 3, and the error quotes it with its key."""
    harness.write(function("f", "cat", returns="list<strng>"))
    for command in ("schema", "check", "run"):
        done = harness.cm_exec(command, environment=harness.replica.modern())
        assert done.returncode == 3
        message = b'cm.toml: functions.f.returns: unknown type "strng" in "list<strng>"; did you mean "string"?'
        assert message in done.stderr
        assert b"Traceback" not in done.stderr


CHECKED = """
[functions.f]
command = "tee -a seen"
check_queries = true
inputs = { name = "string", age = { type = "optional<integer>", min = 0, max = 150 } }
"""


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (
            '{"name": "s3cret", "age": "s3cret"}',
            "$.age: expected an integer of 32 bits, found a string of 6 characters",
        ),
        ('{"name": "s3cret", "age": 151}', "$.age: expected a value from 0 to 150, found one outside"),
        ('{"age": 3}', "$.name: expected a string, found nothing"),
        ('{"nam": "s3cret"}', "$.nam: unknown; did you mean name?"),
        ('"s3cret"', "$: expected an object, found a string of 6 characters"),
    ],
    # pytest names the test's folder by the id, and the log contains the folder
    ids=["type", "range", "missing", "unknown", "no object"],
)
def test_invalid_query(harness: WorkerHarness, query: str, problem: str) -> None:
    """An invalid query reaches neither the handler nor the log."""
    worker = harness.start(CHECKED)
    error = error_of(harness.runtime.result(harness.runtime.submit("f", query.encode())), function="f")
    assert error["reason"] == "invalid_query"
    assert error["error"] == f"the query does not match the inputs of 'f': {problem}"
    assert not error.keys() & {"exitCode", "signal", "stderr"}
    assert worker.stop() == 0
    assert not harness.folder.joinpath("seen").exists()
    assert problem in worker.log
    assert "s3cret" not in worker.log


@pytest.mark.parametrize(
    "query", [b'{"name":"\\ud83d", "age"  : 150}', b'{"age":null,"name":""}', b'{ "name" : "x", "name":"y" }']
)
def test_valid_query(harness: WorkerHarness, query: bytes) -> None:
    """A valid query reaches the handler byte for byte."""
    harness.start(CHECKED)
    assert harness.runtime.call("f", query) == query
    assert harness.folder.joinpath("seen").read_bytes() == query


@pytest.mark.parametrize(
    ("returns", "right", "wrong", "problem"),
    [
        (
            "list<integer>",
            b"[ 1,2 ]",
            b'[1, "s3cret"]',
            "$[1]: expected an integer of 32 bits, found a string of 6 characters",
        ),
        ("void", b"null", b'"s3cret"', "expected nothing or null, found a result"),
        (
            "struct<a: date>",
            b'{"a":"2024-02-29"}\n',
            b'{"a": "s3cret"}',
            '$.a: expected a date such as "1969-07-20", found a string of 6 characters',
        ),
    ],
    ids=["list", "void", "struct"],
)
def test_invalid_result(harness: WorkerHarness, returns: str, right: bytes, wrong: bytes, problem: str) -> None:
    """An error replaces an invalid result."""
    worker = harness.start(function("f", "cat", returns=returns, check_results=True))
    error = error_of(harness.runtime.result(harness.runtime.submit("f", wrong)))
    assert error["reason"] == "invalid_output"
    assert error["error"] == f"the result of 'f' does not match its returns: {problem}"
    assert harness.runtime.call("f", right.strip()) == right.strip()
    assert worker.stop() == 0
    assert "s3cret" not in worker.log


def test_a_result_that_is_no_json_is_no_result(harness: WorkerHarness) -> None:
    harness.start(function("f", "printf nope", returns="string", check_results=True))
    error = error_of(harness.runtime.result(harness.runtime.submit("f")))
    assert error["reason"] == "invalid_output"
    assert "expected JSON" in error["error"]


def test_text_output_is_checked_as_it_is_posted(harness: WorkerHarness) -> None:
    harness.start(function("f", "printf nope", returns="string", check_results=True, output="text"))
    assert harness.runtime.call("f") == b'"nope"'


@pytest.mark.parametrize("mode", ["prespawn", "persistent"])
@needs("jq")
def test_the_checks_hold_in_every_mode(harness: WorkerHarness, mode: str) -> None:
    command = ["jq", "--unbuffered", "-c", ".n"]
    harness.start(
        function(
            "f",
            command,
            mode=mode,
            inputs={"n": "unknown"},
            returns="integer",
            check_queries=True,
            check_results=True,
        )
    )
    reasons = {
        query: error_of(harness.runtime.result(harness.runtime.submit("f", query)))["reason"]
        for query in (b"[]", b'{"n": "x"}')
    }
    assert reasons == {b"[]": "invalid_query", b'{"n": "x"}': "invalid_output"}
    assert harness.runtime.call("f", b'{"n": 3}').strip() == b"3"


def test_invoke_with_invalid_values(harness: WorkerHarness) -> None:
    """The command invoke warns of an invalid query and result, and runs the handler."""
    harness.write(function("f", "cat", inputs={"n": "integer"}, returns="integer"))
    done = harness.cm_exec("invoke", "f", '{"n": "three"}')
    assert done.returncode == 0
    assert done.stdout == b'{"n": "three"}'
    assert (
        b"warning: the query does not match `inputs`: $.n: expected an integer of 32 bits, found a string"
        in done.stderr
    )
    assert (
        b"warning: the result does not match `returns`: $: expected an integer of 32 bits, found an object"
        in done.stderr
    )


def test_invoke_says_nothing_of_what_fits(harness: WorkerHarness) -> None:
    harness.write(function("f", "cat", inputs={"n": "integer"}, returns={"n": "integer"}))
    done = harness.cm_exec("invoke", "f", '{"n": 3}')
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"n": 3}', b"")


def test_invoke_refuses_what_run_would_refuse(harness: WorkerHarness) -> None:
    harness.write(CHECKED)
    done = harness.cm_exec("invoke", "f", "{}")
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == "invalid_query"
    assert done.stderr.count(b"$.name: expected a string, found nothing") == 1
    assert not harness.folder.joinpath("seen").exists()


def test_from_starts_a_cm_toml_from_a_description(harness: WorkerHarness) -> None:
    harness.write(TYPED)
    published = harness.cm_exec("schema").stdout
    harness.folder.joinpath("published.json").write_bytes(published)
    described = harness.cm_exec("schema", "--from", "published.json")
    assert (described.returncode, described.stderr) == (0, b"")
    harness.write(described.stdout.decode())
    again = harness.cm_exec("schema", "--pretty")
    assert json.loads(again.stdout) == json.loads(published)


def test_notes_of_an_import(harness: WorkerHarness) -> None:
    """The option --from reports what it could not import."""
    harness.folder.joinpath("measure.schema.json").write_text('{"properties": {"a": {}}}')
    described = harness.cm_exec("schema", "--from", "measure.schema.json")
    assert described.returncode == 0
    assert described.stdout.startswith(b"[functions.measure]\n")
    assert described.stderr == b"cm-exec: note: measure.a is unknown: its schema has no type\n"


def test_from_python(harness: WorkerHarness) -> None:
    """The option --from-python reads hints with the python3 of PATH."""
    harness.folder.joinpath("handlers.py").write_text("def double(x: int) -> float: ...\n")
    described = harness.cm_exec("schema", "--from-python", "handlers:double")
    note = b"cm-exec: note: `cm-exec init --from-python handlers:double` writes cm_handler.py\n"
    assert (described.returncode, described.stderr) == (0, note)
    harness.write(described.stdout.decode())
    (schema,) = json.loads(harness.cm_exec("schema").stdout)
    assert schema["functionName"] == "double"
    assert schema["inputs"][0]["dataType"] == {"type": "integer", "integer": {}}
    assert schema["output"]["single"]["dataType"] == {"type": "float", "float": {}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "missing.json"], b"does not exist"),
        (["--from", "openapi.yaml"], b"convert YAML to JSON first"),
        (["--from-python", "handlers"], b"expected MODULE:FUNCTION"),
        (["--from-python", "nowhere:f"], b"No module named 'nowhere'"),
    ],
)
def test_invalid_description(harness: WorkerHarness, arguments: list[str], message: bytes) -> None:
    """A description that cannot be imported is exit code 2."""
    harness.folder.joinpath("openapi.yaml").write_text("openapi: 3.1.0")
    done = harness.cm_exec("schema", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert b"Traceback" not in done.stderr
    assert not done.stdout
