"""Overrides of `[launcher]` values by the command line and the environment."""

from typing import Any, TypedDict, Unpack

import msgspec
from msgspec.structs import replace

from cm_exec.config.model import Config, LogFormat, LogLevel
from cm_exec.config.schema import LauncherTable
from cm_exec.config.schema.key_spec import converted
from cm_exec.config.validate import mismatch


class LauncherOverrides(TypedDict, total=False):
    """The `[launcher]` keys; None, for an option that is not given, overrides nothing."""

    concurrency: int | None
    drain_timeout: float | None
    wait_for_services: bool | None
    log_format: LogFormat | None
    log_level: LogLevel | None
    tls_server_name: str | None


def with_overrides(config: Config, **launcher_keys: Unpack[LauncherOverrides]) -> Config:
    """Return the configuration with other `[launcher]` values.

    Raises ValueError for a value that cm.toml does not accept either, such as `drain_timeout` nan.
    """
    given: dict[str, Any] = {key: value for key, value in launcher_keys.items() if value is not None}
    fields = {field.name: field.type for field in msgspec.structs.fields(LauncherTable)}
    for key, value in given.items():
        try:
            converted(value, fields[key])
        except ValueError:
            raise ValueError(f"{key}: {mismatch(value, fields[key])}") from None
    return replace(config, launcher=replace(config.launcher, **given))
