import math
from pathlib import Path
from typing import Any

import pytest

from cm_exec.config import Launcher
from cm_exec.config.load import parse_config, with_overrides

CONFIG = parse_config('functions.f = "cat"\nlauncher.concurrency = 2', path=Path("/srv/cm.toml"))


def test_every_launcher_key_can_be_replaced() -> None:
    changed = with_overrides(
        CONFIG, concurrency=8, drain_timeout=1.5, log_format="sls", log_level="error", tls_server_name="localhost"
    )
    assert changed.launcher == Launcher(
        concurrency=8, drain_timeout=1.5, log_format="sls", log_level="error", tls_server_name="localhost"
    )
    assert changed.functions is CONFIG.functions
    assert CONFIG.launcher.concurrency == 2


def test_what_is_not_given_stays() -> None:
    assert with_overrides(CONFIG) == CONFIG
    assert with_overrides(CONFIG, concurrency=None, log_level=None) == CONFIG


def test_0_is_given() -> None:
    assert with_overrides(CONFIG, drain_timeout=0).launcher.drain_timeout == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("concurrency", 0, "concurrency: expected an integer from 1 to 10000, found 0"),
        ("drain_timeout", math.nan, "drain_timeout: expected a number of seconds from 0 to 604800, found nan"),
        ("drain_timeout", math.inf, "drain_timeout: expected a number of seconds from 0 to 604800, found inf"),
        ("log_format", "json", 'log_format: expected "text" or "sls", found "json"'),
        (
            "tls_server_name",
            "",
            'tls_server_name: expected a host name or IP address, such as "localhost", found an empty string',
        ),
    ],
)
def test_invalid_override(key: str, value: Any, message: str) -> None:
    """An override that would be invalid in the file is rejected."""
    overrides: Any = {key: value}
    with pytest.raises(ValueError, match=r".") as caught:
        with_overrides(CONFIG, **overrides)
    assert str(caught.value) == message
