"""Which query a function is measured with, and from where."""

from pathlib import Path

import click
import pytest

from cm_exec.bench.queries import choose_queries, described


def chosen(folder: Path, *, query: str | None = None, files: tuple[str, ...] = ()) -> dict[str, tuple[bytes, str]]:
    queries = choose_queries(["f", "g=h"], query=query, query_files=files, beside=folder)
    return {name: (query.body, query.source) for name, query in queries.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.json"
    path.write_bytes(b"[1]\n")
    return path


def test_with_nothing_given_it_is_an_empty_object_and_says_why(tmp_path: Path) -> None:
    queries = choose_queries(["f"], query=None, query_files=(), beside=tmp_path)
    assert queries["f"].body == b"{}"
    assert described(queries, "f") == "query: {}, as there is no --query, no --query-file and no query.json"


def test_the_query_json_beside_cm_toml_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "query.json"
    path.write_bytes(b'{"n": 1}\n')
    assert chosen(tmp_path) == {"f": (b'{"n": 1}\n', str(path)), "g=h": (b'{"n": 1}\n', str(path))}


def test_what_is_said_goes_before_query_json(tmp_path: Path, file: Path) -> None:
    tmp_path.joinpath("query.json").write_text("0")
    assert chosen(tmp_path, query="7")["f"] == (b"7", "--query")
    assert chosen(tmp_path, files=(str(file),))["f"] == (b"[1]\n", str(file))


def test_a_file_for_one_function_is_for_it_alone(tmp_path: Path, file: Path) -> None:
    own = (b"[1]\n", str(file))
    assert chosen(tmp_path, query="7", files=(f"f={file}",)) == {"f": own, "g=h": (b"7", "--query")}
    assert chosen(tmp_path, query="7", files=(f"g=h={file}",)) == {"f": (b"7", "--query"), "g=h": own}


def test_a_file_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x=y.json"
    path.write_text("3")
    assert chosen(tmp_path, files=(str(path),))["f"] == (b"3", str(path))


@pytest.mark.parametrize(
    ("query", "files", "message"),
    [
        ("{", (), "the query of --query is not JSON"),
        (None, ("f=missing.json",), "missing.json: No such file or directory"),
        (None, ("missing.json",), "missing.json: No such file or directory"),
        (None, ("ff=one.json",), "no function 'ff' is measured; did you mean 'f'?"),
        (None, ("zzz=one.json",), "no function 'zzz' is measured; measured are 'f', 'g=h'"),
        ("1", ("{file}",), "not both"),
    ],
)
def test_a_query_that_cannot_be_is_refused(
    tmp_path: Path, file: Path, query: str | None, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(click.UsageError) as refused:
        chosen(tmp_path, query=query, files=tuple(text.format(file=file) for text in files))
    assert message in refused.value.format_message()


def test_a_query_json_that_is_no_json_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("query.json").write_text("nope")
    with pytest.raises(click.UsageError, match=r"query\.json is not JSON"):
        chosen(tmp_path)
