"""The old name of `cm_exec.config.model`."""

from cm_exec.config.model import Config, Function, Launcher, LogFormat, LogLevel, Mode, Output, ResultFd, Service

__all__ = ["Config", "Function", "Launcher", "LogFormat", "LogLevel", "Mode", "Output", "ResultFd", "Service"]
