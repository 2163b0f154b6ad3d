"""stream = true, through the installed cm-exec and a real runtime."""

import pytest

from tests.support import behaviours
from tests.support.answers import error_of
from tests.support.bench import Bench
from tests.support.ledger import Endpoint
from tests.support.toml import function

WAITING = "printf begin; while [ ! -e go ]; do sleep 0.01; done; "
LARGE = 3_000_000


def streaming(command: str, **options: object) -> str:
    return function("f", command, stream=True, **options)


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_a_part_is_posted_before_the_end(bench: Bench, mode: str) -> None:
    bench.start(streaming(WAITING + "printf end", mode=mode))
    job = bench.runtime.submit("f")
    ledger = bench.runtime.ledger
    ledger.wait_for(lambda: any(bytes(p.body) == b"begin" for p in bench.runtime.posts(job)), what="the first part")
    (post,) = bench.runtime.posts(job)
    assert post.head.header("transfer-encoding") == "chunked"
    assert post.head.header("content-length") is None
    bench.folder.joinpath("go").touch()
    assert bytes(bench.runtime.result(job).body) == b"beginend"
    assert len(bench.runtime.posts(job)) == 1


def test_an_empty_stream_is_an_empty_result(bench: Bench) -> None:
    bench.start(streaming("true"))
    assert bench.runtime.call("f") == b""


def test_a_large_stream_comes_whole(bench: Bench) -> None:
    bench.start(streaming(f"yes 0123456 | head -c {LARGE}"))
    assert bench.runtime.call("f") == b"0123456\n" * (LARGE // 8)


def test_a_post_that_breaks_midway_is_repeated_whole(bench: Bench) -> None:
    bench.start(streaming(f"yes 0123456 | head -c {LARGE}"))
    bench.runtime.script(Endpoint.RESULT, behaviours.reset_within_request(100_000), behaviours.answer(503))
    job = bench.runtime.submit("f")
    assert bytes(bench.runtime.result(job).body) == b"0123456\n" * (LARGE // 8)
    assert [post.status for post in bench.runtime.posts(job)] == [None, 503, 204]


@pytest.mark.parametrize(("end", "reason"), [("exit 3", "exit"), ("kill -9 $$", "signal"), ("sleep 300", "timeout")])
def test_a_command_that_fails_midway_is_an_error_after_a_body_without_its_end(
    bench: Bench, end: str, reason: str
) -> None:
    bench.start(streaming(WAITING + end, timeout=5))
    job = bench.runtime.submit("f")
    ledger = bench.runtime.ledger
    ledger.wait_for(lambda: any(bytes(p.body) == b"begin" for p in bench.runtime.posts(job)), what="the first part")
    bench.folder.joinpath("go").touch()
    result = bench.runtime.result(job)
    assert error_of(result, function="f")["reason"] == reason
    first, second = bench.runtime.posts(job)
    assert (bytes(first.body), first.complete, first.accepted) == (b"begin", False, False)
    assert second is result


def test_a_command_that_fails_before_its_first_byte_is_one_error(bench: Bench) -> None:
    bench.start(streaming("exit 3"))
    job = bench.runtime.submit("f")
    assert error_of(bench.runtime.result(job))["reason"] == "exit"
    assert len(bench.runtime.posts(job)) == 1


def test_more_than_max_output_is_an_error_after_a_body_without_its_end(bench: Bench) -> None:
    bench.start(streaming("yes", max_output=LARGE))
    job = bench.runtime.submit("f")
    assert error_of(bench.runtime.result(job))["reason"] == "output_limit"
    assert not bench.runtime.posts(job)[0].accepted


def test_a_stream_that_is_refused_is_an_error_that_says_so(bench: Bench) -> None:
    bench.start(streaming(f"head -c {LARGE} /dev/zero"))
    bench.runtime.script(Endpoint.RESULT, behaviours.answer_early(413))
    job = bench.runtime.submit("f")
    error = error_of(bench.runtime.result(job))
    assert error["reason"] == "result_rejected"
    assert "413" in error["error"]


def test_jobs_after_a_broken_stream_are_served(bench: Bench) -> None:
    bench.start(streaming(WAITING + "exit 1") + function("good", "cat"))
    bench.folder.joinpath("go").touch()
    for number in range(3):
        assert error_of(bench.runtime.result(bench.runtime.submit("f")))["reason"] == "exit"
        assert bench.runtime.call("good", b"%d" % number) == b"%d" % number
