"""A sample is of its type."""

from hypothesis import given

from cm_exec.datatypes import DataType, sample
from cm_exec.datatypes.check import checker
from tests.support.data_types import data_types


@given(data_types)
def test_a_sample_is_of_its_type(type_: DataType) -> None:
    checker(type_)(sample(type_))
