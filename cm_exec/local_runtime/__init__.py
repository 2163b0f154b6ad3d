"""The local runtime: what a compute module's worker talks to, on one's own machine."""

from cm_exec.local_runtime.call import Call, NoResultError, Result
from cm_exec.local_runtime.core.fault import Endpoint, Fault, FaultKind
from cm_exec.local_runtime.core.fault_text import FaultSyntaxError, format_fault, parse_fault
from cm_exec.local_runtime.core.job import Job
from cm_exec.local_runtime.core.lifecycle import State
from cm_exec.local_runtime.core.violation import Breach, BreachKind
from cm_exec.local_runtime.core.worker_process import ProcessState
from cm_exec.local_runtime.runtime import LocalRuntime

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
