"""Faults: the requests that they affect, and their syntax."""

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


def test_no_rules() -> None:
    """A plan without rules causes no fault."""
    assert FaultPlan().take(ProtocolEndpoint.POLL) == ()


def test_rule_for_an_endpoint() -> None:
    """A rule with an endpoint affects that endpoint only."""
    fault = Fault(kind=FaultKind.RESET, endpoint=ProtocolEndpoint.RESULT)
    plan = FaultPlan([fault])
    assert [plan.take(endpoint) for endpoint in (ProtocolEndpoint.POLL, ProtocolEndpoint.RESULT)] == [(), (fault,)]


def test_rule_for_all_endpoints() -> None:
    """A rule without an endpoint affects all endpoints."""
    fault = Fault(kind=FaultKind.RESET)
    assert {FaultPlan([fault]).take(endpoint) for endpoint in ProtocolEndpoint} == {(fault,)}


def test_counted_rule() -> None:
    """A rule with a count affects that number of requests, and is then removed."""
    plan = FaultPlan([Fault(kind=FaultKind.STATUS, remaining=2)])
    assert [len(plan.take(ProtocolEndpoint.POLL)) for _ in range(4)] == [1, 1, 0, 0]
    assert plan.faults == []


def test_delays() -> None:
    """Delays add up, and come before the first other fault."""
    slow, slower = Fault(kind=FaultKind.LATENCY, seconds=1), Fault(kind=FaultKind.LATENCY, seconds=2)
    reset, hang = Fault(kind=FaultKind.RESET), Fault(kind=FaultKind.HANG, remaining=1)
    plan = FaultPlan([slow, reset, slower, hang])
    assert plan.take(ProtocolEndpoint.POLL) == (slow, slower, reset)
    assert hang in plan.faults, "a rule that hit nothing is not used up"


def test_probability() -> None:
    """A rule with a probability affects about that part of the requests."""
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
def test_syntax(text: str) -> None:
    """The text of a fault is parsed, and formatted to the same text."""
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
def test_syntax_error(text: str, message: str) -> None:
    """The error for an invalid fault explains the mistake."""
    with pytest.raises(FaultSyntaxError, match=message):
        parse_fault(text)
