from __future__ import annotations

import numpy as np
import pytest

from vmm_cli.encoders.preprocess import Preprocess, central_square

NUMBERS = {"short_side": 256, "crop": 224, "mean": 127.0, "scale": 128.0}


def test_the_middle_is_cut_out() -> None:
    rows, columns = np.mgrid[:6, :9]
    image = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    square = central_square(image, 4)
    assert square.shape == (4, 4, 3)
    assert square[0, 0].tolist() == [1, 2, 1]
    assert np.shares_memory(square, image)
    with pytest.raises(ValueError, match="9x6 holds no square of 7"):
        central_square(image, 7)


def test_the_numbers_are_checked() -> None:
    assert Preprocess.from_dict(NUMBERS).crop == 224
    for wrong in ({"crop": 300}, {"crop": 0}, {"scale": 0}, {"more": 1}):
        with pytest.raises(ValueError, match="preprocessing"):
            Preprocess.from_dict(NUMBERS | wrong)
    with pytest.raises(ValueError, match="not a preprocessing"):
        Preprocess.from_dict({"crop": 224})
