"""A result as it is produced: in memory, then in a file without a name; whole or not at all."""

import errno
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cm_exec.handlers.spool import MEMORY_LIMIT, CutOffError, LiveSpool, Spool, spool_directory


@pytest.fixture(params=["file", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return str(tmp_path) if request.param == "file" else None


@pytest.fixture
def spool(directory: str | None) -> Iterator[Spool]:
    spool = Spool(directory)
    yield spool
    spool.close()


def test_nothing_written_is_an_empty_result(spool: Spool) -> None:
    assert (spool.size, spool.getvalue(), list(spool.chunks())) == (0, b"", [])


def test_what_is_written_is_read_as_often_as_wanted(spool: Spool) -> None:
    written = b""
    for number in range(20):
        chunk = bytes([number]) * (number * 20_000)
        spool.write(chunk)
        written += chunk
        assert spool.size == len(written)
        assert b"".join(spool.chunks()) == b"".join(spool.chunks()) == spool.getvalue() == written


def test_writing_goes_on_while_a_reader_has_begun(spool: Spool) -> None:
    spool.write(b"a" * 300_000)
    chunks = spool.chunks()
    first = next(chunks)
    spool.write(b"b" * MEMORY_LIMIT)
    assert first + b"".join(chunks) == b"a" * 300_000 + b"b" * MEMORY_LIMIT


def test_a_large_result_is_read_in_small_blocks(spool: Spool) -> None:
    spool.write(bytes(5_000_000))
    assert max(map(len, spool.chunks())) <= MEMORY_LIMIT


def test_clearing_starts_anew(spool: Spool) -> None:
    for size in (10, 2_000_000):
        spool.write(bytes(size))
        spool.clear()
        assert (spool.size, spool.getvalue()) == (0, b"")
    spool.write(b"x")
    assert spool.getvalue() == b"x"


def test_only_a_large_result_needs_a_file_and_the_file_has_no_name(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.write(bytes(MEMORY_LIMIT))
    assert spool._file is None
    spool.write(b"x")
    assert spool._file is not None
    assert list(tmp_path.iterdir()) == []
    file = spool._file
    spool.close()
    spool.close()
    assert file.closed


def test_without_a_folder_nothing_is_written_to_disk() -> None:
    spool = Spool(None)
    spool.write(bytes(3 * MEMORY_LIMIT))
    assert spool._file is None


def test_a_folder_that_takes_nothing_is_an_error(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "gone"))
    spool.write(bytes(MEMORY_LIMIT))
    with pytest.raises(OSError, match=r"gone") as caught:
        spool.write(b"x")
    assert caught.value.errno == errno.ENOENT
    spool.close()


_NEARLY_FULL = """
import json, resource, sys
from cm_exec.handlers.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 19, 3 << 19))
spool = Spool(sys.argv[1])
told = []
for size in map(int, sys.argv[2:]):
    try:
        spool.write(bytes(size))
        told.append(spool.size)
    except OSError as error:
        told.append(error.strerror)
print(json.dumps(told))
"""


@pytest.mark.parametrize("sizes", [(2 << 20,), (1 << 20, 1 << 20), (1 << 20, 1 << 19, 1)])
def test_a_disk_that_takes_only_a_part_is_an_error(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """A full disk takes the beginning of a chunk without an error; here it is the limit of a file's size."""
    done = subprocess.run(
        [sys.executable, "-c", _NEARLY_FULL, tmp_path, *map(str, sizes)], capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)[-1] == "File too large", done


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(chunks=st.lists(st.integers(0, 700_000), max_size=8))
def test_any_chunks_come_back_as_one(directory: str | None, chunks: list[int]) -> None:
    spool = Spool(directory)
    written = b"".join(bytes([number % 256]) * size for number, size in enumerate(chunks))
    at = 0
    for size in chunks:
        spool.write(written[at : at + size])
        at += size
    assert spool.getvalue() == b"".join(spool.chunks()) == written
    spool.close()


def in_background(work: Callable[[], bytes]) -> Callable[[], bytes]:
    results: list[bytes] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def result() -> bytes:
        thread.join(30)
        assert results, "the reader waits for ever"
        return results[0]

    return result


def test_a_live_result_is_read_as_it_comes(directory: str | None) -> None:
    spool = LiveSpool(directory)
    whole = in_background(lambda: b"".join(spool.live_chunks()))
    written = b""
    for number in range(30):
        chunk = bytes([number]) * 100_000
        spool.write(chunk)
        written += chunk
    spool.end(well=True)
    assert whole() == written
    spool.close()


def test_each_piece_of_a_live_result_is_there_before_the_next() -> None:
    spool = LiveSpool(None)
    pieces = spool.live_chunks()
    for piece in (b"one", b"two"):
        spool.write(piece)
        assert next(pieces) == piece
    spool.end(well=True)
    assert list(pieces) == []


def test_a_live_result_that_ends_badly_is_never_taken_for_whole() -> None:
    spool = LiveSpool(None)
    spool.write(b"half")
    spool.end(well=False)
    pieces = spool.live_chunks()
    assert next(pieces) == b"half"
    with pytest.raises(CutOffError):
        next(pieces)


def begins(spool: LiveSpool, act: Callable[[], None]) -> bytes:
    """What a reader is told that waited when `act` happened."""
    told = in_background(lambda: b"begun" if spool.wait_for_begin() else b"nothing")
    act()
    return told()


def test_the_begin_of_a_live_result_is_its_first_byte_or_its_end() -> None:
    begun, empty, failed = LiveSpool(None), LiveSpool(None), LiveSpool(None)
    assert begins(begun, lambda: begun.write(b"x")) == b"begun"
    assert begins(empty, lambda: empty.end(well=True)) == b"nothing"
    assert begins(failed, lambda: failed.end(well=False)) == b"nothing"


def test_the_folder_for_large_results_is_the_system_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert spool_directory() == str(tmp_path)


def test_without_a_writable_folder_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert spool_directory() is None
