"""The wire format, by the examples of its documentation, and what is damaged."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.engines.protobuf import DamagedMessageError, fields, numbers


def test_the_documentation_s_examples() -> None:
    assert list(fields(memoryview(b"\x08\x96\x01"))) == [(1, 150)]
    ((number, text),) = fields(memoryview(b"\x12\x07testing"))
    assert (number, bytes(text)) == (2, b"testing")
    ((number, packed),) = fields(memoryview(b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"))
    assert (number, numbers([packed])) == (6, [3, 270, 86942])


def test_negative_numbers_and_those_that_are_not_packed() -> None:
    minus_two = b"\x08" + b"\xfe" + b"\xff" * 8 + b"\x01"
    assert numbers([value for _, value in fields(memoryview(minus_two + b"\x08\x05"))]) == [-2, 5]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no number
        b"\x08\x96",  # ends within it
        b"\x12\x07test",  # ends within a text
        b"\x0b",  # a group, which nothing has any more
        b"\x00\x01",  # field 0
        b"\x08" + b"\xff" * 9 + b"\x7f",  # 70 bits
        b"\x08" + b"\xff" * 11,
        b"\x0d\x01\x02",  # ends within 4 bytes
        b"\x09\x01\x02\x03\x04",  # ends within 8
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(DamagedMessageError):
        list(fields(memoryview(data)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        for _, value in fields(memoryview(data)):
            if not isinstance(value, int):
                numbers([value])
    except DamagedMessageError:
        pass


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), st.text(max_size=20))
def test_what_onnx_writes(dims: list[int], name: str) -> None:
    tensor = onnx.TensorProto(dims=dims, name=name, data_type=1)
    found: dict[int, list[int | memoryview]] = {}
    for number, value in fields(memoryview(tensor.SerializeToString())):
        found.setdefault(number, []).append(value)
    assert numbers(found.get(1, [])) == dims
    assert found[2] == [1]
    assert [bytes(one).decode() for one in found[8] if not isinstance(one, int)] == [name]
