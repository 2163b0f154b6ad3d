"""The old name of `cm_exec.text.closest_match`."""

from cm_exec.text import closest_match as nearest

__all__ = ["nearest"]
