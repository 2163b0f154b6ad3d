"""Faults: which request is hit, and how a person writes it."""

import random

import pytest

from cm_exec.local_runtime.core.faults import (
    Fault,
    FaultKind,
    FaultPlan,
    FaultSyntaxError,
    ProtocolEndpoint,
    format_fault,
    parse_fault,
)


def test_without_rules_nothing_happens() -> None:
    assert FaultPlan().take(ProtocolEndpoint.POLL) == ()


def test_a_rule_hits_its_endpoint_only() -> None:
    fault = Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.RESULT)
    plan = FaultPlan([fault])
    assert [plan.take(endpoint) for endpoint in (ProtocolEndpoint.POLL, ProtocolEndpoint.RESULT)] == [(), (fault,)]


def test_a_rule_without_an_endpoint_hits_all() -> None:
    fault = Fault(kind=FaultKind.RESET)
    assert {FaultPlan([fault]).take(endpoint) for endpoint in ProtocolEndpoint} == {(fault,)}


def test_a_counted_rule_hits_so_many_requests_and_is_gone() -> None:
    plan = FaultPlan([Fault(kind=FaultKind.STATUS, remaining=2)])
    assert [len(plan.take(ProtocolEndpoint.POLL)) for _ in range(4)] == [1, 1, 0, 0]
    assert plan.faults == []


def test_delays_add_up_and_come_before_the_first_other_fault() -> None:
    slow, slower = Fault(kind=FaultKind.LATENCY, seconds=1), Fault(kind=FaultKind.LATENCY, seconds=2)
    reset, hang = Fault(kind=FaultKind.RESET), Fault(kind=FaultKind.HANG, remaining=1)
    plan = FaultPlan([slow, reset, slower, hang])
    assert plan.take(ProtocolEndpoint.POLL) == (slow, slower, reset)
    assert hang in plan.faults, "a rule that hit nothing is not used up"


def test_a_probability_hits_about_so_many() -> None:
    plan = FaultPlan([Fault(kind=FaultKind.RESET, probability=0.25)], random.Random(1))  # noqa: S311 - it must be the same each time
    hits = sum(len(plan.take(ProtocolEndpoint.POLL)) for _ in range(1000))
    assert 200 < hits < 300


WRITTEN = {
    "latency=0.2": Fault(kind=FaultKind.LATENCY, seconds=0.2),
    "poll.503": Fault(kind=FaultKind.STATUS, endpoint=ProtocolEndpoint.POLL, status=503),
    "poll.503*10": Fault(kind=FaultKind.STATUS, endpoint=ProtocolEndpoint.POLL, status=503, remaining=10),
    "413@0.5": Fault(kind=FaultKind.STATUS, status=413, probability=0.5),
    "result.reset@0.05": Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.RESULT, probability=0.05),
    "schemas.drop": Fault(kind=FaultKind.DROP, endpoint=ProtocolEndpoint.SCHEMAS),
    "restart.hang*1": Fault(kind=FaultKind.HANG, endpoint=ProtocolEndpoint.RESTART, remaining=1),
    "result.lost": Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.RESULT, processed=True),
    "poll.cut=10": Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.POLL, after_bytes=10),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_written_fault_is_read_and_written_again(text: str) -> None:
    assert parse_fault(text) == WRITTEN[text]
    assert format_fault(WRITTEN[text]) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"'' is not of the form \[ENDPOINT\.\]KIND"),
        ("poll.", "is not of the form"),
        ("pol.reset", "'pol' is none of poll, result, schemas, restart"),
        ("rest", "'rest' is none of latency, reset, drop"),
        ("poll.200", "a status is from 400 to 599"),
        ("latency", "seconds expected, a number"),
        ("latency=fast", "seconds expected, a number"),
        ("latency=-1", "seconds expected, a number"),
        ("latency=inf", "seconds expected, a number"),
        ("reset=1", "only latency and cut take a value"),
        ("reset@2", "a probability is above 0 and at most 1"),
        ("reset@0", "a probability is above 0 and at most 1"),
        ("reset@often", "a probability expected, a number"),
        ("reset*0", "how many requests are hit"),
        ("reset*some", "how many requests are hit"),
        ("lost", "'lost' is for result, schemas and restart"),
        ("poll.lost", "'lost' is for result, schemas and restart"),
    ],
)
def test_a_wrong_fault_is_explained(text: str, message: str) -> None:
    with pytest.raises(FaultSyntaxError, match=message):
        parse_fault(text)
