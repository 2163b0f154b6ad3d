"""The retry verdicts: the whole table."""

from cm_exec.runtime.retry import Verdict, poll_verdict, result_verdict

RESULT = {
    **dict.fromkeys(range(200, 300), Verdict.ACCEPTED),
    **dict.fromkeys((401, 403), Verdict.REAUTHENTICATE),
    **dict.fromkeys((404, 409, 410), Verdict.GONE),
    **dict.fromkeys((408, 421, 423, 425, 429), Verdict.RETRY),
    **dict.fromkeys(range(500, 1000), Verdict.RETRY),
}
"""What is not here is refused for good, 413 above all."""


def test_what_each_answer_to_a_result_means() -> None:
    every = range(100, 1000)
    assert {s: result_verdict(s) for s in every} == {s: RESULT.get(s, Verdict.REFUSED) for s in every}


def test_no_answer_to_a_poll_ends_the_polling() -> None:
    kept = {Verdict.ACCEPTED, Verdict.REAUTHENTICATE}
    for status in range(100, 1000):
        verdict = result_verdict(status)
        assert poll_verdict(status) is (verdict if verdict in kept else Verdict.RETRY)


def test_a_result_that_is_too_large_is_refused() -> None:
    assert result_verdict(413) is Verdict.REFUSED
