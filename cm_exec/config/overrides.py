"""Overrides of `[launcher]` values by the command line and the environment."""

from typing import Any

import msgspec
from msgspec.structs import replace

from cm_exec.config.model import Config
from cm_exec.config.schema import LauncherTable
from cm_exec.config.schema.key_spec import converted
from cm_exec.config.validate import mismatch


def with_overrides(config: Config, **launcher_keys: Any) -> Config:
    """Return the configuration with other `[launcher]` values; None, for an option that is not given, changes nothing.

    Raises ValueError for a value that cm.toml does not accept either, such as `drain_timeout` nan.
    """
    given = {key: value for key, value in launcher_keys.items() if value is not None}
    fields = {field.name: field.type for field in msgspec.structs.fields(LauncherTable)}
    for key, value in given.items():
        try:
            converted(value, fields[key])
        except ValueError:
            raise ValueError(f"{key}: {mismatch(value, fields[key])}") from None
    return replace(config, launcher=replace(config.launcher, **given))
