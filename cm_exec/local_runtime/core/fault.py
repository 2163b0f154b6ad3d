"""Faults on purpose: what the runtime does wrong, when, and how often."""

import random
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self


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
    """`status` and `body` are the answer."""
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
    body: bytes = b""
    processed: bool = False
    after_bytes: int | None = None

    def with_frequency(self, *, probability: float = 1.0, remaining: int | None = None) -> Self:
        """The same, so often."""
        return replace(self, probability=probability, remaining=remaining)


@dataclass(slots=True)
class FaultPlan:
    """The rules in force."""

    faults: list[Fault] = field(default_factory=list)
    rng: random.Random = field(default_factory=random.Random)

    def take(self, endpoint: ProtocolEndpoint) -> tuple[Fault, ...]:
        """What befalls one request: the delays that match, then the first other fault that does."""
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

    def _hits(self, fault: Fault, endpoint: ProtocolEndpoint) -> bool:
        if fault.endpoint not in {None, endpoint}:
            return False
        return fault.probability >= 1 or self.rng.random() < fault.probability
