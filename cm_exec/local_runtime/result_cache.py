"""The results that are kept for the history, within a budget of bytes."""

from collections import OrderedDict
from dataclasses import dataclass, field

from cm_exec.local_runtime.spool import ResultSpool


@dataclass(slots=True)
class ResultCache:
    """Results by job. When they take more than `budget` bytes together, the oldest go; the newest always stays."""

    budget: int
    _spools: OrderedDict[str, ResultSpool] = field(default_factory=OrderedDict)
    _size: int = 0

    def put(self, job_id: str, spool: ResultSpool) -> None:
        """Keep a complete result."""
        self.drop(job_id)
        self._spools[job_id] = spool
        self._size += spool.size
        while self._size > self.budget and len(self._spools) > 1:
            _, oldest = self._spools.popitem(last=False)
            self._size -= oldest.size

    def get(self, job_id: str) -> ResultSpool | None:
        """The result, None where there is none or it had to go."""
        return self._spools.get(job_id)

    def drop(self, job_id: str) -> None:
        """The job is not known any more."""
        spool = self._spools.pop(job_id, None)
        if spool is not None:
            self._size -= spool.size
