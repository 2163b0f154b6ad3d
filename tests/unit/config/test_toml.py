"""Values and keys as TOML."""

import tomli
from hypothesis import given
from hypothesis import strategies as st

from cm_exec.config.toml import toml_key, toml_value

TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(TEXTS, VALUES)
def test_round_trip(key: str, value: object) -> None:
    assert tomli.loads(f"{toml_key(key)} = {toml_value(value)}") == {key: value}
