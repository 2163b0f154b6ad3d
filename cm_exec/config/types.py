"""The old name of `cm_exec.config.model`."""

from cm_exec.config.model import Config, Framing, Function, Launcher, LogFormat, LogLevel, Mode, Output, ResultFd

__all__ = ["Config", "Framing", "Function", "Launcher", "LogFormat", "LogLevel", "Mode", "Output", "ResultFd"]
