"""What the protocol's port needs of the runtime behind it."""

from typing import Protocol

from cm_exec.local_runtime.core.fault import ProtocolEndpoint
from cm_exec.local_runtime.core.job import PostOutcome, RuntimeJob
from cm_exec.local_runtime.spool import ResultSpool


class WorkerSide(Protocol):
    """All of it is called on the event loop's thread, and none of it waits."""

    def hand_out(self) -> RuntimeJob | None:
        """The next job, if one may go out."""

    def put_back(self, job_id: str) -> None:
        """The job did not arrive."""

    def poll_began(self) -> None:
        """A worker asks."""

    def poll_ended(self) -> None:
        """A worker has its answer, or is gone."""

    def result_began(self, job_id: str, *, streamed: bool) -> ResultSpool:
        """A result comes; where its bytes go."""

    def result_ended(self, job_id: str, body: ResultSpool, *, content_type: str | None, streamed: bool) -> PostOutcome:
        """It is there."""

    def result_cut(self, job_id: str, body: ResultSpool) -> None:
        """It broke off."""

    def reply_lost(self, job_id: str) -> None:
        """It is there, and the worker was not told."""

    def too_large(self, job_id: str, size: int) -> None:
        """It was over the limit."""

    def schemas_posted(self, body: bytes, content_type: str | None) -> None:
        """The worker's functions."""

    def restarted(self) -> list[str]:
        """The worker started anew: the jobs that are dropped."""

    def unauthorized(self, endpoint: ProtocolEndpoint) -> None:
        """A request without the right token."""
