"""The query of a run, and where it comes from."""

from pathlib import Path

import click
import pytest

from cm_exec.bench import choose_query


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.json"
    path.write_bytes(b"[1]\n")
    return path


def test_default(tmp_path: Path) -> None:
    """With nothing given it is an empty object, and the source says why."""
    query = choose_query(None, None, tmp_path)
    assert query.body == b"{}"
    assert query.source == "{} (default: there is no --query, no --query-file and no query.json)"


def test_query_json(tmp_path: Path) -> None:
    """A query.json beside cm.toml is used if no option names a query."""
    path = tmp_path / "query.json"
    path.write_bytes(b'{"n": 1}\n')
    query = choose_query(None, None, tmp_path)
    assert (query.body, query.source) == (b'{"n": 1}\n', str(path))


def test_options_first(tmp_path: Path, file: Path) -> None:
    """An option goes before query.json."""
    tmp_path.joinpath("query.json").write_text("0")
    text, read = choose_query("7", None, tmp_path), choose_query(None, file, tmp_path)
    assert (text.body, text.source) == (b"7", "--query")
    assert (read.body, read.source) == (b"[1]\n", str(file))


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ("{", None, "the query from --query is not valid JSON"),
        (None, "missing.json", "missing.json: No such file or directory"),
        ("1", "one.json", "not both"),
    ],
)
def test_refused(tmp_path: Path, file: Path, query: str | None, name: str | None, message: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        choose_query(query, file.with_name(name) if name else None, tmp_path)
    assert message in refused.value.format_message()


def test_invalid_query_json(tmp_path: Path) -> None:
    tmp_path.joinpath("query.json").write_text("nope")
    with pytest.raises(click.UsageError, match=r"query\.json is not valid JSON"):
        choose_query(None, None, tmp_path)
