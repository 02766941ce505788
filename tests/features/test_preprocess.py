from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vmm_cli.features.preprocess import Preprocess, central_square, prepare, scaled_size

NUMBERS = {"short_side": 256, "crop": 224, "mean": 127.0, "scale": 128.0}
COLOURS = {f"{kind}_{c}": 0.5 for kind in ("mean", "std") for c in ("red", "green", "blue")}
TORCHVISION = {"short_side": 128, "crop": 112, "antialias": 0, **COLOURS}


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
    for wrong in ({"crop": 224}, TORCHVISION | {"mean": 127}, NUMBERS | {"frames": 16}):
        with pytest.raises(ValueError, match="not a preprocessing"):
            Preprocess.from_dict(wrong)
    for wrong in (
        {"std_red": 0},
        {"width": 100},
        {"frames": 0},
        {"frames": 16},
        {"frames": 10**9, "rate_hz": 15},
        {"frames": 16, "rate_hz": 1e300},
        {"short_side": 10**9, "crop": 10**9},
        {"short_side": 10**9},
        {"width": 10**9},
    ):
        with pytest.raises(ValueError, match="cannot be used"):
            Preprocess.from_dict(TORCHVISION | wrong)


def test_settings_are_the_fields_by_their_names() -> None:
    own = NUMBERS | {"resize": "antialias", "mean": [1, 2, 3], "scale": 128}
    assert Preprocess.from_dict(own) == Preprocess(256, 224, (1, 2, 3), 128, "antialias")
    clips = Preprocess.from_dict(own | {"width": 256, "frames": 8, "rate_hz": 4})
    assert (clips.shape, clips.step_s) == ((8, 224, 224, 3), Fraction(1, 4))
    for wrong in (
        own | {"resize": "best"},
        own | {"resize": []},
        own | {"mean": [1, 2]},
        own | {"mean": "grey"},
        own | {"scale": [1, 2, None]},
        NUMBERS | {"mean": [127]},
        NUMBERS | {"crop": "large"},
        TORCHVISION | {"std_red": {}},
    ):
        with pytest.raises(ValueError, match="not a preprocessing"):
            Preprocess.from_dict(wrong)


def test_torchvision_s_numbers_are_of_0_to_1() -> None:
    numbers = Preprocess.from_dict(TORCHVISION | {"width": 171, "frames": 16, "rate_hz": 15})
    assert numbers.mean == (127.5, 127.5, 127.5)
    assert numbers.scale == (127.5, 127.5, 127.5)
    assert (numbers.resize, numbers.width) == ("bilinear", 171)
    assert numbers.shape == (16, 112, 112, 3)
    assert numbers.step_s == Fraction(1, 15)
    single = Preprocess.from_dict(TORCHVISION | {"antialias": 1})
    assert (single.resize, single.shape) == ("antialias", (112, 112, 3))


def test_sizes_keep_the_aspect_unless_both_sides_are_given() -> None:
    numbers = Preprocess.from_dict(TORCHVISION)
    assert scaled_size(numbers, 720, 1280) == (128, 227)  # 227.6
    assert scaled_size(numbers, 1280, 720) == (227, 128)
    assert scaled_size(numbers, 50, 50) == (128, 128)
    both = Preprocess.from_dict(TORCHVISION | {"width": 171})
    assert scaled_size(both, 1280, 720) == (128, 171)


def test_pictures_are_prepared_as_they_come() -> None:
    rng = np.random.default_rng(0)
    scaled = rng.integers(0, 256, (256, 300, 3), np.uint8)
    plain = prepare(Preprocess.from_dict(NUMBERS), scaled)
    assert np.array_equal(plain, central_square(scaled, 224))
    flat = np.full((90, 70, 3), 77, np.uint8)
    for antialias in (0, 1):
        made = prepare(Preprocess.from_dict(TORCHVISION | {"antialias": antialias}), flat)
        assert made.shape == (112, 112, 3)
        assert (made == 77).all()
