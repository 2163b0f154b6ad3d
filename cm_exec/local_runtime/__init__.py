"""The local runtime: what a compute module's worker talks to, on one's own machine."""

from cm_exec.local_runtime.call import Call, CallResult, NoResultError
from cm_exec.local_runtime.core.faults import (
    Fault,
    FaultKind,
    FaultSyntaxError,
    ProtocolEndpoint,
    format_fault,
    parse_fault,
)
from cm_exec.local_runtime.core.functions import FunctionInfo
from cm_exec.local_runtime.core.job import RuntimeJob, State
from cm_exec.local_runtime.core.worker_status import ProcessState, ProtocolViolation, ServiceStatus, ViolationKind
from cm_exec.local_runtime.runtime import LocalRuntime
from cm_exec.local_runtime.views import CallerOptions

__all__ = [
    "Call",
    "CallResult",
    "CallerOptions",
    "Fault",
    "FaultKind",
    "FaultSyntaxError",
    "FunctionInfo",
    "LocalRuntime",
    "NoResultError",
    "ProcessState",
    "ProtocolEndpoint",
    "ProtocolViolation",
    "RuntimeJob",
    "ServiceStatus",
    "State",
    "ViolationKind",
    "format_fault",
    "parse_fault",
]
