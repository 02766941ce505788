"""Objects and poses agree with the originals, which TensorFlow.js ran on these very pictures.

`tools/convert_human_models.py --tfjs FOLDER --originals tests/data/human_models.json` ran them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.convert_human_models import in_square, picture_of
from vmm_cli import bundles
from vmm_cli.features.objects import object_compute
from vmm_cli.features.poses import Square, cut_out, pose_compute

pytestmark = pytest.mark.usefixtures("one_thread")

ORIGINALS = json.loads((Path(__file__).parents[1] / "data" / "human_models.json").read_text())
# Scalers of another version of libav or Pillow may give pictures that are a shade off.
PIXELS, SHARES = 0.25, 2e-3


def called(original: dict[str, Any]) -> str:
    return f"{original['clip']} at {original['second']} s"


@pytest.fixture(params=["onnxruntime", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_ENGINE", request.param)
    object_compute.cache_clear()
    pose_compute.cache_clear()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("original", ORIGINALS, ids=called)
def test_objects_are_those_of_the_original(original: dict[str, Any]) -> None:
    bundle = bundles.load("objects")
    square, _ = in_square(picture_of(original["clip"], original["second"])[0])
    found = object_compute(bundle.folder, bundle.digest, "cpu").run(square[None]).reshape(-1, 6)
    wanted = np.array(original["candidates"])
    assert len(wanted) >= 3
    for row in wanted:  # candidates that are nearly alike may come in another order
        apart = np.abs(found - row)
        alike = (apart[:, :4] <= PIXELS).all(axis=1) & (apart[:, 5] == 0)
        assert alike.any() and apart[alike, 4].min() <= SHARES, row


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("original", ORIGINALS, ids=called)
def test_poses_are_those_of_the_original(original: dict[str, Any]) -> None:
    bundle = bundles.load("pose")
    crop = cut_out(picture_of(original["clip"], original["second"])[1], Square(*original["square"]))
    found = pose_compute(bundle.folder, bundle.digest, "cpu").run(crop[None]).reshape(-1, 3)
    np.testing.assert_allclose(found, original["points"], rtol=0, atol=SHARES)
