"""Poll, run, report, drain: the worker knows handlers and runtime only by their interfaces."""

from cm_exec.worker.worker import Worker

__all__ = ["Worker"]
