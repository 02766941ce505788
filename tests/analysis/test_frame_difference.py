"""What counts as new in a picture, and what is only moved, lit otherwise or covered by bars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scenes import scene
from vmm_cli.analysis.frame_difference import View, novelty, novelty_in_any_light
from vmm_cli.media.miniatures import HEIGHT, WIDTH, Miniature


def view(pixels: np.ndarray) -> View:
    return View(Miniature(0.0, pixels))


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=64, max_size=64))
def test_a_share_of_both_pictures(one: bytes, other: bytes) -> None:
    views = [
        view(np.resize(np.frombuffer(raw, np.uint8), (3, HEIGHT, WIDTH))) for raw in (one, other)
    ]
    new = novelty(*views)
    assert 0 <= new <= 1
    assert new == pytest.approx(novelty(*views[::-1]))
    assert novelty(views[0], views[0]) == 0
    assert novelty_in_any_light(*views) <= new
    glance = novelty(*views, alike=1.0)  # what is seen without a search
    assert glance >= new


def test_moved_is_not_new() -> None:
    first, *_, last = scene(1, 4, pan=1)
    assert novelty(view(first), view(last)) < 0.25
    assert novelty(view(first), view(last)) < novelty(view(first), view(last), alike=1.0) / 2


def test_another_scene_is_new() -> None:
    assert min(novelty(view(scene(1, 1)[0]), view(scene(s, 1)[0])) for s in range(2, 12)) > 0.7


def test_another_light_is_not_new() -> None:
    (picture,) = scene(1, 1)
    darker = picture.copy()
    darker[0] = 0.6 * picture[0].astype(float) + 10
    assert novelty(view(picture), view(darker)) > 0.6
    assert novelty_in_any_light(view(picture), view(darker)) < 0.1


def test_bars_do_not_count() -> None:
    one, other = (view(between_bars(scene(s, 1)[0])) for s in (1, 2))
    assert one.lit.mean() == pytest.approx(1 / 3)
    assert novelty(one, other) > 0.7


def between_bars(picture: np.ndarray) -> np.ndarray:
    """Leave the middle third of a picture and make the rest black."""
    barred = np.full_like(picture, 128)
    barred[0] = 16
    barred[:, :, WIDTH // 3 : 2 * WIDTH // 3] = picture[:, :, WIDTH // 3 : 2 * WIDTH // 3]
    return barred
