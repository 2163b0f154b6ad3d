"""The local runtime: what a compute module's worker talks to, on one's own machine."""

from cm_exec.dev.breach import Breach, BreachKind
from cm_exec.dev.call import Call, NoResultError, Result
from cm_exec.dev.fault import Endpoint, Fault, FaultKind
from cm_exec.dev.ledger import Job
from cm_exec.dev.lifecycle import State
from cm_exec.dev.runtime import LocalRuntime

__all__ = [
    "Breach",
    "BreachKind",
    "Call",
    "Endpoint",
    "Fault",
    "FaultKind",
    "Job",
    "LocalRuntime",
    "NoResultError",
    "Result",
    "State",
]
