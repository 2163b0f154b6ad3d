"""The settings of a run of the runtime, for the callers' port."""

import secrets
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from cm_exec import __version__
from cm_exec.local_runtime.broker import Broker
from cm_exec.local_runtime.core.faults import format_fault, parse_fault
from cm_exec.local_runtime.http.protocol_api import ProtocolApi
from cm_exec.local_runtime.http.views import View
from cm_exec.local_runtime.worker_files import WorkerFiles


@dataclass(slots=True)
class RuntimeInfo:
    """One run of the runtime, by the name `run`.

    `call_timeout` is the default timeout of callers in seconds, None for no limit; `user_id` and `auth_header` are
    the identity of callers that send none.
    """

    broker: Broker
    api: ProtocolApi
    environment: WorkerFiles
    _: KW_ONLY
    strict: bool
    call_timeout: float | None
    user_id: str | None = None
    auth_header: str | None = field(default=None, repr=False)
    save_test: Callable[[str], str | None] | None = None
    """Adds a `[[tests]]` entry to cm.toml, and returns the file's name; None if it cannot."""
    callers_token: str = field(default="", repr=False)
    """For the curl lines that the console copies."""
    paused: bool = True
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = 0.0

    def fault_texts(self) -> list[str]:
        """Return the faults in force, as they are written."""
        return [format_fault(fault) for fault in self.api.faults.faults]

    def set_faults(self, texts: list[str]) -> None:
        """Replace the faults. Raises FaultSyntaxError, and changes nothing then."""
        self.api.faults.faults = [parse_fault(text) for text in texts]

    def state_view(self) -> View:
        """Return the part of /state that does not change with every job."""
        variables = self.environment.variables()
        return {
            "version": __version__,
            "runtime": {
                "uri": self.environment.url,
                "startedAt": round(self.started * 1000),
                "maxConcurrentTasks": self.environment.slots,
                "strict": self.strict,
                "pollWaitMs": round(self.api.poll_wait * 1000),
                "callTimeoutMs": None if self.call_timeout is None else round(self.call_timeout * 1000),
                "paused": self.paused,
                "faults": self.fault_texts(),
            },
            "environment": variables,
            "token": self.callers_token,
            "userId": self.user_id,
            "savesTests": self.save_test is not None,
        }
