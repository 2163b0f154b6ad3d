"""Values as TOML text."""

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.text import toml_key, toml_value

TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(VALUES)
def test_toml_value(value: object) -> None:
    assert tomli.loads(f"value = {toml_value(value)}")["value"] == value


def test_no_toml_value() -> None:
    with pytest.raises(TypeError):
        toml_value(None)


@given(TEXTS)
def test_toml_key(name: str) -> None:
    assert tomli.loads(f"{toml_key(name)} = 1") == {name: 1}
