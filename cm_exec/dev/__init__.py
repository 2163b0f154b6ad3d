"""The local runtime: what a compute module's worker talks to, on one's own machine."""

from cm_exec.dev.breach import Breach, BreachKind
from cm_exec.dev.call import Call, NoResultError, Result
from cm_exec.dev.fault import Endpoint, Fault, FaultKind
from cm_exec.dev.fault_text import FaultSyntaxError, format_fault, parse_fault
from cm_exec.dev.job import Job
from cm_exec.dev.lifecycle import State
from cm_exec.dev.runtime import LocalRuntime
from cm_exec.dev.worker_process import ProcessState

__all__ = [
    "Breach",
    "BreachKind",
    "Call",
    "Endpoint",
    "Fault",
    "FaultKind",
    "FaultSyntaxError",
    "Job",
    "LocalRuntime",
    "NoResultError",
    "ProcessState",
    "Result",
    "State",
    "format_fault",
    "parse_fault",
]
