"""The wire format of protocol buffers: what is needed to look at a graph before anything runs it.

The package `onnx` would read it too, but takes 0.1 s and 13 MB in every worker, passes over fields
that it does not know, and is not needed for anything else there.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | memoryview


class DamagedMessageError(ValueError):
    """What was to be read is no message, or not whole."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field of a message, in the order in which they lie.

    A varint is an int from 0 to 2**64 - 1; all else is the bytes: of a message, a text, packed
    numbers, or of one number of 4 or 8 bytes.

    Raises:
        DamagedMessageError: see there.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value: Value
            value, at = _varint(message, at)
        else:
            if kind == BYTES:
                length, at = _varint(message, at)
            elif kind in (FIXED64, FIXED32):
                length = 8 if kind == FIXED64 else 4
            else:
                raise DamagedMessageError(f"a field of the unknown kind {kind}")
            if length > end - at:
                raise DamagedMessageError("it ends within a field")
            value = message[at : at + length]
            at += length
        if number == 0:
            raise DamagedMessageError("a field without a number")
        yield number, value


def numbers(values: list[Value]) -> list[int]:
    """Return a repeated field of integers, packed or not. DamagedMessageError as `fields`."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _varint(value, at)
            found.append(one)
    return [one - 2**64 if one >= 2**63 else one for one in found]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise DamagedMessageError("it ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, at
    raise DamagedMessageError("a number of more than 64 bits")
