"""Faults on purpose: what the runtime does wrong, when, how often, and the text form such as `result.reset@0.05`."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class ProtocolEndpoint(StrEnum):
    """The protocol's four requests."""

    POLL = "poll"
    RESULT = "result"
    SCHEMAS = "schemas"
    RESTART = "restart"


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    """The request is served, `seconds` later."""
    STATUS = "status"
    """`status` is the answer."""
    RESET = "reset"
    """The connection is reset (TCP RST), as by a sidecar that dies."""
    DROP = "drop"
    """The connection is closed in good order, with no answer."""
    HANG = "hang"
    """No answer ever comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule.

    `endpoint` None means every endpoint. A matching request is hit with `probability`; `remaining` is how many
    requests are still to be hit, None for no end. `processed` says that the request takes effect before the answer
    goes wrong (a result is stored, and its 204 lost); it is not for polls. `after_bytes`, for a reset, lets so much
    of a job's body, or of a posted result, pass first.
    """

    kind: FaultKind
    endpoint: ProtocolEndpoint | None = None
    probability: float = 1.0
    remaining: int | None = None
    seconds: float = 0.0
    status: int = 500
    processed: bool = False
    after_bytes: int | None = None


@dataclass(slots=True)
class FaultPlan:
    """The rules in force."""

    faults: list[Fault] = field(default_factory=list)
    rng: random.Random = field(default_factory=random.Random)

    def take(self, endpoint: ProtocolEndpoint) -> tuple[Fault, ...]:
        """Return the faults to apply to one request: the matching delays, then the first other fault."""
        if not self.faults:
            return ()
        hits: list[Fault] = []
        decided = False
        for index, fault in enumerate(self.faults):
            if not self._hits(fault, endpoint) or (decided and fault.kind is not FaultKind.LATENCY):
                continue
            hits.append(fault)
            decided = decided or fault.kind is not FaultKind.LATENCY
            if fault.remaining is not None:
                self.faults[index] = replace(fault, remaining=fault.remaining - 1)
        self.faults = [fault for fault in self.faults if fault.remaining != 0]
        hits.sort(key=lambda fault: fault.kind is not FaultKind.LATENCY)
        return tuple(hits)

    @property
    def texts(self) -> list[str]:
        """The rules as they are written."""
        return [format_fault(fault) for fault in self.faults]

    def set(self, texts: Sequence[str]) -> None:
        """Replace the rules by these texts. Raises FaultSyntaxError, and changes nothing then."""
        self.faults = [parse_fault(text) for text in texts]

    def _hits(self, fault: Fault, endpoint: ProtocolEndpoint) -> bool:
        if fault.endpoint not in {None, endpoint}:
            return False
        return fault.probability >= 1 or self.rng.random() < fault.probability


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
    """Return the text that `parse_fault` reads as this fault."""
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
        return replace(fault, probability=share)
    if count is not None:
        if not count.isdecimal() or int(count) == 0:
            raise FaultSyntaxError(f"{text!r}: after * stands how many requests are hit")
        return replace(fault, remaining=int(count))
    return fault


def _number(value: str | None, what: str, text: str) -> float:
    try:
        number = float(value or "")
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise FaultSyntaxError(f"{text!r}: {what} expected, a number")
    return number
