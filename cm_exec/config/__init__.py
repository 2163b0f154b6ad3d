"""Read a cm.toml once into frozen typed values."""

from cm_exec.config.load import load_config, parse_config, read_file, with_overrides
from cm_exec.config.model import Config, Function, Launcher, LogFormat, LogLevel, Output, Service
from cm_exec.errors import ConfigError, Problem

__all__ = [
    "Config",
    "ConfigError",
    "Function",
    "Launcher",
    "LogFormat",
    "LogLevel",
    "Output",
    "Problem",
    "Service",
    "load_config",
    "parse_config",
    "read_file",
    "with_overrides",
]
