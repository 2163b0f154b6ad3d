"""The advice follows from the numbers."""

import pytest

from cm_exec.bench.advice import USE, advise
from cm_exec.bench.measurement import Measurement, Memory
from cm_exec.config.types import Mode

MIB = 1 << 20


def measured(
    mode: Mode,
    slots: int,
    jobs_per_second: float,
    *,
    alone: float | None = None,
    p99: float = 0.2,
    runtime_share: float = 0.1,
    memory: Memory | None = None,
) -> Measurement:
    return Measurement(
        function="f",
        mode=mode,
        slots=slots,
        jobs=100,
        failed=0,
        failure=None,
        p50=slots / jobs_per_second,
        p90=slots / jobs_per_second,
        p99=p99,
        jobs_per_second=jobs_per_second,
        alone=alone,
        memory=memory or Memory(worker=20 * MIB, handlers=slots * 10 * MIB),
        runtime_share=runtime_share,
    )


def test_prespawn_where_it_takes_the_start_from_the_job() -> None:
    advice = advise([measured("spawn", 1, 16, alone=0.06), measured("prespawn", 1, 16, alone=0.011)])
    assert advice.mode == "prespawn"
    assert "takes 11.0 ms in place of 60.0 ms" in advice.sentences[0]
    assert "each start still costs its 49.0 ms" in advice.sentences[1]
    assert "persistent" in advice.sentences[1]


@pytest.mark.parametrize("prespawn", [0.055, 0.06, 0.08])
def test_spawn_where_prespawn_takes_little_from_the_job(prespawn: float) -> None:
    assert advise([measured("spawn", 1, 16, alone=0.06), measured("prespawn", 1, 16, alone=prespawn)]).mode == "spawn"


def test_spawn_where_the_start_is_a_matter_of_a_millisecond() -> None:
    assert advise([measured("spawn", 1, 500, alone=0.002), measured("prespawn", 1, 500, alone=0.0005)]).mode == "spawn"


def test_a_single_mode_is_no_choice() -> None:
    assert "no other was measured" in advise([measured("prespawn", 1, 16, alone=0.06)]).sentences[0]
    assert "can have no other" in advise([measured("persistent", 1, 16, alone=0.06)]).sentences[0]


def test_no_more_slots_than_do_nearly_as_much_as_the_best() -> None:
    advice = advise([measured("spawn", 1, 95, p99=0.01), measured("spawn", 2, 100, p99=0.02), measured("spawn", 8, 90)])
    assert advice.slots == 1
    assert "concurrency = 1: with 8, jobs/s change by -5%, and p99 is 200 ms in place of 10.0 ms" in advice.sentences


def test_the_most_slots_where_they_do_more() -> None:
    advice = advise([measured("spawn", 4, 120), measured("spawn", 1, 100)])
    assert advice.slots == 4
    assert "concurrency = 4: 120 jobs/s, where 1 did 100" in advice.sentences


def test_more_slots_are_proposed_while_the_throughput_grows() -> None:
    advice = advise([measured("spawn", 1, 100), measured("spawn", 4, 390)])
    assert any("--concurrency 4,8" in sentence for sentence in advice.sentences)


def test_the_slots_are_of_the_mode_that_is_advised() -> None:
    advice = advise(
        [
            measured("spawn", 1, 10, alone=1.0),
            measured("spawn", 4, 40),
            measured("prespawn", 1, 20, alone=0.1),
            measured("prespawn", 4, 20),
        ]
    )
    assert (advice.mode, advice.slots) == ("prespawn", 1)


def test_where_the_local_runtime_was_the_limit_the_advice_says_so() -> None:
    advice = advise([measured("persistent", 1, 1500, runtime_share=0.8), measured("persistent", 4, 1400)])
    assert any("local runtime" in sentence for sentence in advice.sentences)
    assert "bears at least 1,050 jobs/s" in advice.sentences[-1]


@pytest.mark.parametrize(
    ("rate", "replicas"),
    [(0.5, 1), (7, 1), (7.1, 2), (14, 2), (70, 10)],
)
def test_replicas_by_littles_law_with_slots_to_spare(rate: float, replicas: int) -> None:
    """4 slots that do 10 jobs/s: a job takes a slot for 0.4 s."""
    advice = advise([measured("spawn", 4, 10)], rate)
    assert advice.safe_rate == pytest.approx(USE * 10)
    assert advice.replicas is not None
    assert advice.replicas.replicas == replicas
    assert advice.replicas.busy == pytest.approx(rate * 0.4)


def test_the_law_is_shown_with_the_size_of_a_replica() -> None:
    sentence = advise([measured("spawn", 4, 10)], 14).sentences[-1]
    assert sentence == (
        "for 14.0 jobs/s: 2 replicas of 4 slots and about 60.0 MiB of memory. Little's law: 14.0 jobs/s x 400 ms in a "
        "slot = 5.60 slots busy on average, where at most 70% of all slots should be"
    )


def test_without_a_rate_it_says_what_a_replica_bears() -> None:
    advice = advise([measured("spawn", 1, 10, memory=Memory())])
    assert advice.replicas is None
    assert advice.sentences[-1] == "a replica of 1 slot bears about 7.00 jobs/s with its slots busy 70% of the time"
