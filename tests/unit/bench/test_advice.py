"""Advice from measurements."""

import pytest

from cm_exec.bench.measure import Measurement
from cm_exec.bench.report import USE, advise
from cm_exec.bench.worker import Memory
from cm_exec.config import Mode

MIB = 1 << 20


def measured(
    mode: Mode,
    slots: int,
    jobs_per_second: float,
    *,
    unloaded: float | None = None,
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
        p99=slots / jobs_per_second,
        jobs_per_second=jobs_per_second,
        unloaded_p50=unloaded,
        memory=memory or Memory(worker=20 * MIB, handlers=slots * 10 * MIB),
        runtime_share=runtime_share,
    )


def test_prespawn() -> None:
    """Prespawn is advised if it hides the start of the process from the job."""
    advice = advise([measured("spawn", 1, 16, unloaded=0.06), measured("prespawn", 1, 16, unloaded=0.011)])
    assert advice.mode == "prespawn"
    assert "drops from 60.0 ms to 11.0 ms" in advice.sentences[0]
    assert "each job still pays 49.0 ms" in advice.sentences[1]
    assert "persistent" in advice.sentences[1]


@pytest.mark.parametrize(("spawn", "prespawn"), [(0.06, 0.055), (0.06, 0.06), (0.06, 0.08), (0.002, 0.0005)])
def test_spawn(spawn: float, prespawn: float) -> None:
    """Spawn is advised if prespawn saves little, in share or in milliseconds."""
    advice = advise([measured("spawn", 1, 16, unloaded=spawn), measured("prespawn", 1, 16, unloaded=prespawn)])
    assert advice.mode == "spawn"
    assert "saves little" in advice.sentences[0]


def test_single_mode() -> None:
    """A single mode is no choice, so nothing is said of it."""
    advice = advise([measured("persistent", 1, 16, unloaded=0.06)])
    assert advice.mode == "persistent"
    assert advice.sentences[0] == "concurrency = 1"


@pytest.mark.parametrize(
    ("rates", "slots", "sentence"),
    [
        ({1: 95, 2: 100, 8: 90}, 1, "concurrency = 1"),
        ({4: 120, 1: 100}, 4, "concurrency = 4"),
        ({1: 100, 4: 390}, 4, "concurrency = 4; try more: --concurrency 4,8"),
    ],
)
def test_slots(rates: dict[int, float], slots: int, sentence: str) -> None:
    """The fewest slots that handle nearly as much as the best; more are proposed while the throughput grows."""
    advice = advise([measured("spawn", number, rate) for number, rate in rates.items()])
    assert advice.slots == slots
    assert sentence in advice.sentences


def test_slots_of_advised_mode() -> None:
    advice = advise(
        [
            measured("spawn", 1, 10, unloaded=1.0),
            measured("spawn", 4, 40),
            measured("prespawn", 1, 20, unloaded=0.1),
            measured("prespawn", 4, 20),
        ]
    )
    assert (advice.mode, advice.slots) == ("prespawn", 1)


def test_busy_runtime() -> None:
    """The advice says so if the local runtime was the bottleneck."""
    advice = advise([measured("persistent", 1, 1500, runtime_share=0.8), measured("persistent", 4, 1400)])
    assert any("the local runtime was the bottleneck" in sentence for sentence in advice.sentences)
    assert "handles at least 1,050 jobs/s" in advice.sentences[-1]


@pytest.mark.parametrize(
    ("rate", "replicas"),
    [(0.5, 1), (7, 1), (7.1, 2), (14, 2), (70, 10)],
)
def test_replicas(rate: float, replicas: int) -> None:
    """By Little's law: 4 slots that handle 10 jobs/s are taken for 0.4 s by each job."""
    advice = advise([measured("spawn", 4, 10)], rate)
    assert advice.safe_rate == pytest.approx(USE * 10)
    assert advice.replicas is not None
    assert advice.replicas.replicas == replicas
    assert advice.replicas.busy == pytest.approx(rate * 0.4)


def test_law_shown() -> None:
    sentence = advise([measured("spawn", 4, 10)], 14).sentences[-1]
    assert sentence == (
        "for 14.0 jobs/s: 2 replicas of 4 slots and about 60 MiB of memory. Little's law: 14.0 jobs/s x 400 ms in a "
        "slot = 5.60 slots busy on average, and at most 70% of all slots should be"
    )


def test_without_rate() -> None:
    advice = advise([measured("spawn", 1, 10, memory=Memory())])
    assert advice.replicas is None
    assert advice.sentences[-1] == "a replica of 1 slot handles about 7.00 jobs/s with its slots busy 70% of the time"
