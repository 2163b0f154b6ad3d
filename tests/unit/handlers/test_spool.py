"""A result as it is produced: in memory, then in a file without a name; whole or not at all."""

import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cm_exec.handlers.spool import MEMORY_LIMIT, Spool, StreamingSpool, spool_directory
from cm_exec.protocol.failure import StreamAbortedError


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


def test_repeated_reads(spool: Spool) -> None:
    """The content can be read any number of times."""
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


def test_clear(spool: Spool) -> None:
    """A cleared spool is empty and can be used again."""
    for size in (10, 2_000_000):
        spool.write(bytes(size))
        spool.clear()
        assert (spool.size, spool.getvalue()) == (0, b"")
    spool.write(b"x")
    assert spool.getvalue() == b"x"


def test_file_of_a_large_result(tmp_path: Path) -> None:
    """Only a large result needs a file, and that file has no name."""
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


def test_no_folder() -> None:
    """Without a folder a result stays in memory."""
    spool = Spool(None)
    spool.write(bytes(3 * MEMORY_LIMIT))
    assert spool._file is None


def test_missing_folder(tmp_path: Path) -> None:
    """A result stays in memory if the folder does not exist any more."""
    spool = Spool(str(tmp_path / "gone"))
    for _ in range(3):
        spool.write(bytes(MEMORY_LIMIT))
    assert spool.getvalue() == b"".join(spool.chunks()) == bytes(3 * MEMORY_LIMIT)
    spool.close()


_NEARLY_FULL = """
import hashlib, json, resource, sys
from cm_exec.handlers.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 19, 3 << 19))
spool = Spool(sys.argv[1])
for number, size in enumerate(map(int, sys.argv[2:])):
    spool.write(bytes([number]) * size)
print(json.dumps([spool.size, hashlib.sha256(spool.getvalue()).hexdigest()]))
"""


@pytest.mark.parametrize("sizes", [(2 << 20,), (1 << 20, 1 << 20), (1 << 20, 1 << 19, 1), (1, 2 << 20, 5, 3 << 20)])
def test_full_disk(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """What a full disk does not take stays in memory; a limited file size acts like a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", _NEARLY_FULL, tmp_path, *map(str, sizes)], capture_output=True, check=True, timeout=60
    )
    written = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    assert json.loads(done.stdout) == [sum(sizes), hashlib.sha256(written).hexdigest()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
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


async def joined(spool: StreamingSpool) -> bytes:
    return b"".join([chunk async for chunk in spool.live_chunks()])


async def test_a_live_result_is_read_as_it_comes(directory: str | None) -> None:
    spool = StreamingSpool(directory)
    reader = asyncio.create_task(joined(spool))
    written = b""
    for number in range(30):
        chunk = bytes([number]) * 100_000
        spool.write(chunk)
        written += chunk
        await asyncio.sleep(0)
    spool.finish(ok=True)
    assert await reader == written == await joined(spool)
    spool.close()


async def test_live_chunks() -> None:
    """Each piece of a live result is available before the next one."""
    spool = StreamingSpool(None)
    pieces = spool.live_chunks()
    for piece in (b"one", b"two"):
        spool.write(piece)
        assert await anext(pieces) == piece
    spool.finish(ok=True)
    assert [piece async for piece in pieces] == []


async def test_aborted_stream() -> None:
    """A live result that ends incomplete raises an error."""
    spool = StreamingSpool(None)
    spool.write(b"half")
    spool.finish(ok=False)
    pieces = spool.live_chunks()
    assert await anext(pieces) == b"half"
    with pytest.raises(StreamAbortedError):
        await anext(pieces)


@pytest.mark.parametrize(
    ("act", "begins"),
    [
        (lambda spool: spool.write(b"x"), True),
        (lambda spool: spool.finish(ok=True), False),
        (lambda spool: spool.finish(ok=False), False),
    ],
)
async def test_begin_of_a_live_result(act: Callable[[StreamingSpool], None], begins: bool) -> None:
    """A live result begins with its first byte or its end."""
    spool = StreamingSpool(None)
    waiting = asyncio.create_task(spool.begins())
    await asyncio.sleep(0)
    assert not waiting.done()
    act(spool)
    assert await waiting is begins


def test_spool_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder for large results is the system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert spool_directory() == str(tmp_path)


def test_without_a_writable_folder_there_is_none(tmp_path: Path) -> None:
    """In a process of its own, whose files may have no byte."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from cm_exec.handlers.spool import spool_directory; raise SystemExit(spool_directory() is not None)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0
