"""Masks as run lengths, compressed to text as COCO has them. numpy only.

The format of COCO's mask API (`maskApi.c`, rleEncode and rleToString): the lengths of runs of 0 and
1 in turn, column by column, the first of 0; from the fourth on the difference to the last but one;
of each 5 bits in a character from "0" on, the lowest first, the sixth bit where more follow, signs
as in two's complement. `pycocotools.mask.decode({"size": [h, w], "counts": text})` reads it.
"""

from __future__ import annotations

import numpy as np

_BITS, _MORE, _SIGN, _FIRST = 5, 0x20, 0x10, 48


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return the lengths of a mask's runs: bool [h, w], h x w >= 1.

    >>> run_lengths(np.array([[False, True], [False, True], [True, True]]))
    [2, 4]
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask[-1, -1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    lengths: list[int] = np.diff(ends, prepend=0).tolist()
    return lengths


def compressed(lengths: list[int]) -> str:
    """Return run lengths as text.

    >>> compressed([6, 1, 40, 4, 5])
    '61X13mN'
    """
    text = []
    for i, length in enumerate(lengths):
        value = length - lengths[i - 2] if i > 2 else length
        while True:
            bits = value & (_MORE - 1)
            value >>= _BITS
            more = value != (-1 if bits & _SIGN else 0)
            text.append(chr(_FIRST + bits + (_MORE if more else 0)))
            if not more:
                break
    return "".join(text)
