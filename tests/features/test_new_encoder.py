"""An encoder from outside of the package: a row, and all else works with it."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.features.mean_colour import MEAN_COLOUR
from vmm_cli import bundles
from vmm_cli.batch.inputs import Input
from vmm_cli.errors import ModelError
from vmm_cli.features import catalogue, store
from vmm_cli.features.grid import Window
from vmm_cli.features.plan import StreamPlan, encoder_spec, plan_of
from vmm_cli.features.windows import window_features
from vmm_cli.inference import classify_windows
from vmm_cli.media.video import Video
from vmm_cli.training.data.inspection import inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.request import Listener, TrainRequest
from vmm_cli.training.run import train

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

NAME = "mean-colour"
COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.ENCODERS, NAME, MEAN_COLOUR)


def coloured_clip(path: Path, colour: tuple[int, int, int], seed: int = 0) -> Path:
    """Render a second of noise about a colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(8):
            noise = draw.integers(-20, 20, (48, 64, 1))
            image = (np.array(colour) + noise).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for label, colour in COLOURS.items():
        for i in range(5):
            coloured_clip(tmp_path / "clips" / label / f"{i}.mp4", colour, seed=i)
    return tmp_path / "clips"


def plan_of_it() -> StreamPlan:
    spec = encoder_spec("colour", NAME, Fraction(1))
    return StreamPlan({"colour": spec}, Fraction(2), Fraction(1))


def seen(path: Path, plan: StreamPlan, *, use_store: bool = True) -> np.ndarray:
    whole = [Window(Fraction(0), Fraction(1))]
    (window,) = window_features(Video(path), whole, plan, use_store=use_store)
    assert window.masks["colour"].all()
    return window.values["colour"]


def test_its_values_are_what_is_seen_and_come_back_from_the_store(tmp_path: Path) -> None:
    clip = coloured_clip(tmp_path / "a.mp4", COLOURS["red"])
    values = seen(clip, plan_of_it())
    assert values.shape == (2, 3) and values.dtype == np.float32
    np.testing.assert_allclose(values * 255, [COLOURS["red"]] * 2, atol=4)
    (held,) = store.holds()
    assert (held.encoder, held.kind, held.entries) == (NAME, "features", 1)
    np.testing.assert_array_equal(seen(clip, plan_of_it()), values)
    np.testing.assert_array_equal(seen(clip, plan_of_it(), use_store=False), values)
    assert store.info().entries == 1


@pytest.mark.parametrize(("kept", "entries"), [("always", 1), ("asked", 0), ("never", 0)])
def test_what_may_be_kept_is_a_field_of_its_row(
    kept: str, entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.ENCODERS, NAME, replace(MEAN_COLOUR, kept=kept))
    seen(coloured_clip(tmp_path / "a.mp4", COLOURS["red"]), plan_of_it())
    assert store.info().entries == entries


def test_another_version_or_setting_is_another_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [MEAN_COLOUR, replace(MEAN_COLOUR, version="2"), replace(MEAN_COLOUR, settings={})]
    digests = set()
    for row in rows:
        monkeypatch.setitem(catalogue.ENCODERS, NAME, row)
        digests.add(encoder_spec("colour", NAME, Fraction(1)).digest)
    assert len(digests) == len(rows)


def test_a_model_is_trained_with_it_and_used(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [
        f"streams={{colour: {{encoder: {NAME}}}}}",
        "rate_hz=2",
        "window_s=1",
        "width=8",
        "dropout=0",
    ]
    changes += ["optimisation.epochs=30", "optimisation.learning_rate=0.02"]
    recipe = load_recipe("default", changes)
    assert recipe.streams["colour"].encoder == NAME
    looked_at = inspect(read_classes(clips), jobs=1, max_pixels=10**7)
    run = tmp_path / "run"
    metrics = train(looked_at, TrainRequest(run, "colours", recipe), Listener())
    assert metrics["validation"]["accuracy"] == 1
    assert [one.encoder for one in store.holds()] == [NAME]

    model = bundles.load(str(run))
    assert plan_of(model).encoders["colour"].preprocess == {"side": 16}
    assert label_of(model, coloured_clip(tmp_path / "x.mp4", COLOURS["blue"], seed=9)) == "blue"
    assert label_of(model, coloured_clip(tmp_path / "y.mp4", COLOURS["red"], seed=9)) == "red"

    monkeypatch.delitem(catalogue.ENCODERS, NAME)
    with pytest.raises(ModelError, match=f"no encoder named '{NAME}' for the stream 'colour'"):
        plan_of(model)


def label_of(model: bundles.Bundle, path: Path) -> str:
    request = classify_windows.windows_request(model)
    input = Input(path, path.name, path.stem)
    parts = [classify_windows.run(request, input, None)]
    record = classify_windows.finish(request, input, parts).to_record()
    scores = {one["label"]: one["score"] for one in record["labels"]}
    return max(scores, key=scores.__getitem__)
