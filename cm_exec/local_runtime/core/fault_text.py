"""Faults as a person writes them: `result.reset@0.05`, `poll.503*10`, `latency=0.2`."""

import re
from typing import Final

from cm_exec.local_runtime.core.fault import Fault, FaultKind, ProtocolEndpoint

SYNTAX: Final = "[ENDPOINT.]KIND[=VALUE][@PROBABILITY|*COUNT]"

_FORM: Final = re.compile(
    r"(?:(?P<endpoint>[a-z]+)\.)?(?P<kind>[a-z]+|\d+)(?:=(?P<value>[^@*]+))?(?:@(?P<probability>.+)|\*(?P<count>.+))?"
)
_ERROR_STATUSES: Final = range(400, 600)


class FaultSyntaxError(ValueError):
    """A text that is not a fault; the message says what is wrong, and what is right."""


def parse_fault(text: str) -> Fault:
    """Read `[ENDPOINT.]KIND[=VALUE][@PROBABILITY|*COUNT]`.

    ENDPOINT is poll, result, schemas or restart; without it all are meant. KIND is `latency=SECONDS`, a status such
    as `503`, `reset`, `drop`, `hang`, `lost` (it takes effect, and its answer is lost), `cut=BYTES` (a reset after so
    many bytes). `@0.1` hits every tenth request, at random; `*3` the next three.

    Raises FaultSyntaxError.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise FaultSyntaxError(f"{text!r} is not of the form {SYNTAX}")
    endpoint = _endpoint(form["endpoint"], text)
    fault = _kind(form["kind"], form["value"], endpoint, text)
    if fault.processed and endpoint in {None, ProtocolEndpoint.POLL}:
        raise FaultSyntaxError(f"{text!r}: 'lost' is for result, schemas and restart, such as result.lost")
    return _with_frequency(fault, form["probability"], form["count"], text)


def format_fault(fault: Fault) -> str:
    """The text that `parse_fault` reads as this fault; without the body of a status."""
    endpoint = f"{fault.endpoint}." if fault.endpoint else ""
    suffix = f"@{fault.probability:g}" if fault.probability < 1 else ""
    if fault.remaining is not None:
        suffix = f"*{fault.remaining}"
    return f"{endpoint}{_kind_text(fault)}{suffix}"


def _kind_text(fault: Fault) -> str:
    if fault.kind is FaultKind.LATENCY:
        return f"latency={fault.seconds:g}"
    if fault.kind is FaultKind.STATUS:
        return str(fault.status)
    if fault.after_bytes is not None:
        return f"cut={fault.after_bytes}"
    return "lost" if fault.processed else fault.kind.value


def _endpoint(name: str | None, text: str) -> ProtocolEndpoint | None:
    if name is None:
        return None
    try:
        return ProtocolEndpoint(name)
    except ValueError:
        raise FaultSyntaxError(f"{text!r}: {name!r} is none of {', '.join(ProtocolEndpoint)}") from None


def _kind(kind: str, value: str | None, endpoint: ProtocolEndpoint | None, text: str) -> Fault:
    if kind == "latency":
        return Fault(kind=FaultKind.LATENCY, endpoint=endpoint, seconds=_number(value, "seconds", text))
    if kind == "cut":
        size = int(_number(value, "bytes", text))
        return Fault(kind=FaultKind.RESET, endpoint=endpoint, after_bytes=size)
    if value is not None:
        raise FaultSyntaxError(f"{text!r}: only latency and cut take a value")
    if kind.isdecimal():
        if int(kind) not in _ERROR_STATUSES:
            raise FaultSyntaxError(f"{text!r}: a status is from 400 to 599")
        return Fault(kind=FaultKind.STATUS, endpoint=endpoint, status=int(kind))
    if kind == "lost":
        return Fault(kind=FaultKind.RESET, endpoint=endpoint, processed=True)
    if kind in {FaultKind.RESET, FaultKind.DROP, FaultKind.HANG}:
        return Fault(kind=FaultKind(kind), endpoint=endpoint)
    raise FaultSyntaxError(f"{text!r}: {kind!r} is none of latency, reset, drop, hang, lost, cut, or a status")


def _with_frequency(fault: Fault, probability: str | None, count: str | None, text: str) -> Fault:
    if probability is not None:
        share = _number(probability, "a probability", text)
        if not 0 < share <= 1:
            raise FaultSyntaxError(f"{text!r}: a probability is above 0 and at most 1")
        return fault.with_frequency(probability=share)
    if count is not None:
        if not count.isdecimal() or int(count) == 0:
            raise FaultSyntaxError(f"{text!r}: after * stands how many requests are hit")
        return fault.with_frequency(remaining=int(count))
    return fault


def _number(value: str | None, what: str, text: str) -> float:
    try:
        number = float(value or "")
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise FaultSyntaxError(f"{text!r}: {what} expected, a number")
    return number
