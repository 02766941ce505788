"""The streams of faces and voices: on the common grid, and stored only where that is asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.squares import squares_clip
from vmm_cli.features import store
from vmm_cli.features.grid import Window, windows
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.windows import window_features
from vmm_cli.media.video import Video

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


def plan_of_both(rate_hz: int = 2) -> StreamPlan:
    length = Fraction(2)
    encoders = {
        "face": encoder_spec("face", "faces", length),
        "voice": encoder_spec("voice", "speech", length),
    }
    return StreamPlan(encoders, Fraction(rate_hz), length)


@pytest.fixture(scope="module")
def talker(vmm_data: Path) -> Path:
    """Three seconds of somebody who speaks a sentence into the camera."""
    return vmm_data / "talking_heads" / "bbaf2n.mpg"


def test_faces_and_voices_are_seen_and_nothing_is_stored(talker: Path) -> None:
    plan = plan_of_both()
    chosen = windows(Fraction(0), Video(talker).end_s, plan.window_s)
    first, last = window_features(Video(talker), chosen, plan)
    assert first.values["face"].shape == (4, 135) and first.values["voice"].shape == (4, 768)
    assert first.masks["face"].all() and first.masks["voice"].any()
    # The windows overlap: what both see is the same.
    for stream in plan.encoders:
        np.testing.assert_array_equal(first.values[stream][2:], last.values[stream][:2])
    probabilities = first.values["face"][:, :7]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert store.info().entries == 0


def test_what_is_asked_for_is_kept_and_comes_back(talker: Path) -> None:
    plan, whole = plan_of_both(1), [Window(Fraction(0), Fraction(2))]
    (seen,) = window_features(Video(talker), whole, plan, keep_features=True)
    assert store.info().entries == 2
    (again,) = window_features(Video(talker), whole, plan, keep_features=True)
    (anew,) = window_features(Video(talker), whole, plan)
    for found in (again, anew):
        for stream in plan.encoders:
            np.testing.assert_array_equal(found.values[stream], seen.values[stream])
            np.testing.assert_array_equal(found.masks[stream], seen.masks[stream])


def test_where_there_is_neither_face_nor_voice_they_are_absent(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4", sound=True)
    (seen,) = window_features(Video(clip), [Window(Fraction(0), Fraction(1))], plan_of_both())
    assert seen.values["face"].shape == (2, 135) and seen.values["voice"].shape == (2, 768)
    assert not seen.masks["face"].any() and not seen.masks["voice"].any()


def test_a_voice_without_a_picture_is_enough(vmm_data: Path) -> None:
    clip = sorted((vmm_data / "voices" / "clips").glob("*.flac"))[0]
    (seen,) = window_features(Video(clip), [Window(Fraction(0), Fraction(2))], plan_of_both())
    assert seen.masks["voice"].any() and not seen.masks["face"].any()
