"""What a trained model says of videos: windows, stretches, timelines, explanations."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from tests.squares import squares_clip
from vmm_cli import bundles
from vmm_cli.batch.inputs import Input
from vmm_cli.errors import InputError, ModelError, UsageError
from vmm_cli.features import store
from vmm_cli.features.grid import Window
from vmm_cli.inference import classify_windows, load
from vmm_cli.inference import windows as inference_windows
from vmm_cli.inference.classify_windows import Part, WindowsRequest, finish, plan, run
from vmm_cli.inference.load import load_trained
from vmm_cli.inference.windows import probabilities_of, reader
from vmm_cli.media.video import Video
from vmm_cli.operations.classify import ClassifyOptions, prepare


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def request(model: Path, **more: Any) -> WindowsRequest:
    return classify_windows.windows_request(bundles.load(str(model)), **more)


def classified(wanted: WindowsRequest, path: Path, parts: list[Part | None]) -> dict[str, Any]:
    asked = Input(path, path.name, path.stem)
    found = finish(wanted, asked, [run(wanted, asked, part) for part in parts])
    return json.loads(json.dumps(found.to_record()))


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Two seconds of movement, then two of none."""
    import av

    halves = [
        squares_clip(tmp_path / f"{kind}.ts", kind, seconds=2, sound=True)
        for kind in ("moving", "still")
    ]
    whole = tmp_path / "long.ts"
    whole.write_bytes(halves[0].read_bytes())
    with av.open(str(halves[1])) as given, av.open(str(tmp_path / "late.ts"), "w") as made:
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                shift = int(Fraction(2) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    whole.write_bytes(whole.read_bytes() + (tmp_path / "late.ts").read_bytes())
    return whole


# --- scores -------------------------------------------------------------------------------------


def test_a_short_video_is_one_window(squares_model: Path, squares: Path) -> None:
    record = classified(request(squares_model), squares / "moving" / "00.mp4", [None])
    assert record["model"] == {"name": "tones", "version": 1}
    assert record["streams"] == ["image", "audio"]
    assert record["duration_s"] == pytest.approx(1, abs=0.1)
    assert [label["label"] for label in record["labels"]] == ["moving", "still"]
    assert sum(label["score"] for label in record["labels"]) == pytest.approx(1, abs=1e-4)
    assert record["labels"][0]["times"] == [pytest.approx(0.5, abs=0.1)]
    assert "windows" not in record and "explain" not in record


def test_windows_tell_when(squares_model: Path, long: Path) -> None:
    record = classified(request(squares_model, windows_s=1.0), long, [None])
    cells = record["windows"]
    assert [cell["start_s"] for cell in cells[:4]] == [0, 1, 2, 3]
    assert cells[-1]["end_s"] == record["duration_s"]
    best = [cell["labels"][0]["label"] for cell in cells]
    assert best[0] == "moving" and best[3] == "still"
    scores = {label["label"]: label["score"] for label in record["labels"]}
    assert 0.2 < scores["moving"] < 0.8
    assert max(record["labels"][0]["times"]) < record["duration_s"]


def test_the_same_comes_out_whole_in_parts_and_from_the_store(
    squares_model: Path, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_windows, "CHUNK_STEPS", 8)  # two windows a chunk
    load.load_trained.cache_clear()
    options = {"windows_s": 0.5, "explain": True}
    wanted = request(squares_model, use_store=False, **options)
    parts = plan(wanted, Input(long, "long", "long"), 2)
    assert len(parts) == 2
    whole = classified(wanted, long, [None])
    assert classified(wanted, long, parts) == whole
    assert store.info().entries == 0
    kept = request(squares_model, **options)
    assert classified(kept, long, parts) == whole
    entries = store.info().entries
    assert entries > 0
    assert classified(kept, long, [None]) == whole
    assert store.info().entries == entries, "parts and the whole share what is kept"
    load.load_trained.cache_clear()


def test_parts_are_whole_stretches(squares_model: Path, squares: Path) -> None:
    asked = Input(squares / "moving" / "00.mp4", "a", "a")
    assert plan(request(squares_model), asked, 4) == [None]


def test_a_part_of_the_video_can_be_asked_for(squares_model: Path, long: Path) -> None:
    late = request(squares_model, start=Fraction(5, 2), end=Fraction(4))
    assert classified(late, long, [None])["labels"][0]["label"] == "still"
    with pytest.raises(InputError, match="nothing lies at 9 s") as caught:
        classified(request(squares_model, start=Fraction(9)), long, [None])
    assert caught.value.code == "past_end"


def test_a_video_without_sound_is_judged_by_its_pictures(
    squares_model: Path, tmp_path: Path
) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    assert classified(request(squares_model), clip, [None])["streams"] == ["image"]


def test_sound_alone_is_judged_too(squares_model: Path, tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.m4a", "still", picture=False, sound=True)
    record = classified(request(squares_model, explain=True), clip, [None])
    assert record["streams"] == ["audio"]
    assert record["labels"][0]["label"] == "still"
    assert list(record["explain"]["without"]) == ["audio"]


# --- explanations -------------------------------------------------------------------------------


def test_an_explanation_says_what_the_best_label_rests_on(
    squares_model: Path, long: Path, squares: Path
) -> None:
    clip = squares / "still" / "01.mp4"
    record = classified(request(squares_model, explain=True), clip, [None])
    explained = record["explain"]
    assert explained["label"] == record["labels"][0]["label"]
    assert explained["score"] == record["labels"][0]["score"]
    assert set(explained["without"]) == {"image", "audio"}
    assert [one["start_s"] for one in explained["seconds"]] == [0, 0.5]
    assert explained["seconds"][-1]["end_s"] == pytest.approx(record["duration_s"], abs=0.01)
    # Of a long video: the window that speaks most for the label that is best over all.
    record = classified(request(squares_model, explain=True, windows_s=0.5), long, [None])
    assert record["explain"]["label"] == record["labels"][0]["label"]
    assert record["explain"]["score"] >= max(
        label["score"]
        for cell in record["windows"]
        for label in cell["labels"]
        if label["label"] == record["explain"]["label"]
    )


def test_hiding_is_what_never_seeing_would_be(squares_model: Path, tmp_path: Path) -> None:
    heard = squares_clip(tmp_path / "a.mp4", sound=True)
    silent = squares_clip(tmp_path / "b.mp4")
    wanted = request(squares_model, explain=True)
    explained = classified(wanted, heard, [None])["explain"]
    alone = {
        label["label"]: label["score"] for label in classified(wanted, silent, [None])["labels"]
    }
    assert explained["without"]["audio"] == pytest.approx(alone[explained["label"]], abs=2e-3)


# --- what is refused ----------------------------------------------------------------------------


def test_another_sampling_is_refused(squares_model: Path) -> None:
    for more, name in (({"every": Fraction(1)}, "every"), ({"count": 2}, "count")):
        with pytest.raises(UsageError, match=f"trained with its own sampling .*leave out {name}$"):
            prepare(ClassifyOptions(model=str(squares_model), **more))


def tampered(model: Path, folder: Path, change: Any) -> Path:
    """Copy a model without its graph, and change what its bundle.yaml says.

    Weights that know better are left aside.
    """
    tensors = bundles.load_tensors(bundles.read(model))
    folder.mkdir()
    save_file(tensors, folder / "weights.safetensors")
    fields = yaml.safe_load((model / "bundle.yaml").read_text())
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    fields["weights"]["sha256"] = digest
    fields.pop("graphs", None)
    change(fields)
    (folder / "bundle.yaml").write_text(yaml.safe_dump(fields))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["network"].pop("rate_hz"), "rate_hz"),
        (lambda f: f["network"].update(rate_hz="1/0"), "cannot be used"),
        (lambda f: f["network"].update(rate_hz=1e9), "steps a second"),
        (lambda f: f["network"].update(window_s=-1), "steps a second"),
        (lambda f: f["network"].update(window_s=1e-9), "steps a second"),
        (lambda f: f["network"].update(rate_hz="1e999999999"), "its rate_hz is no number"),
        (lambda f: f["network"].update(streams=f["network"]["streams"] * 50), "100 streams"),
        (lambda f: f["encoders"]["audio"].update(sha256="0" * 64), "another 'log-mel-statistics'"),
        (lambda f: f["encoders"]["audio"].update(name="ears"), "'ears'"),
        (lambda f: f["network"].update(outputs=3), "has 3 outputs for 2 labels"),
        (lambda f: f["labels"].append("more"), "has 2 outputs for 3 labels"),
        (lambda f: f["network"].update(layers=10**9), "it has 1000000000 layers"),
        (lambda f: f["network"].update(layers="x"), "cannot run"),
        (lambda f: f["network"].pop("layers"), "it has no 'layers'"),
        (lambda f: f["network"].update(streams=[]), r"it reads \[\]"),
        (lambda f: f["network"].update(streams="abc"), "cannot run"),
        (lambda f: f["network"]["streams"].reverse(), "it reads"),
        (lambda f: f["encoders"].pop("audio"), "no encoder for audio"),
    ],
)
def test_a_model_that_cannot_be_run_is_refused_before_work(
    squares_model: Path, tmp_path: Path, change: Any, message: str
) -> None:
    model = tampered(squares_model, tmp_path / "m", change)
    with pytest.raises(ModelError, match=message):
        request(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 10**9}, r"differ in \S+ and \d+ more; fetch or train"),
        ({"temporal": "lstm"}, r"differ in temporal\.audio\.\S+ and \d+ more; fetch or train"),
        ({"temporal": "oracle"}, "no temporal network named 'oracle'"),
    ],
)
def test_a_network_that_the_weights_are_not_of_is_refused(
    squares_model: Path,
    squares: Path,
    tmp_path: Path,
    change: dict[str, object],
    message: str,
) -> None:
    model = tampered(squares_model, tmp_path / "m", lambda f: f["network"].update(change))
    with pytest.raises(ModelError, match=f"a network this vmm cannot run: .*{message}"):
        classified(request(model), squares / "moving" / "00.mp4", [None])


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f["network"].update(temporal="lstm"),
        lambda f: f["network"].update(rate_hz=2.0),
        lambda f: f.update(labels=["moving", "renamed"], operating={}),
        lambda f: f["labels"].reverse(),
    ],
)
def test_an_edited_description_is_noticed_before_work(
    squares_model: Path, tmp_path: Path, change: Any
) -> None:
    shutil.copytree(squares_model, tmp_path / "m")
    path = tmp_path / "m" / "bundle.yaml"
    fields = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(fields))  # written otherwise, it says the same
    bundles.load(str(tmp_path / "m"))
    change(fields)
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(ModelError, match="not those that the weights were saved with"):
        bundles.load(str(tmp_path / "m"))


def test_exchanged_weights_are_refused(squares_model: Path, tmp_path: Path) -> None:
    shutil.copytree(squares_model, tmp_path / "m")
    weights = tmp_path / "m" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="damaged or was exchanged"):
        bundles.load(str(tmp_path / "m"))
    torch.save({"a": torch.zeros(1)}, weights)
    with pytest.raises(ModelError, match="pickle"):
        bundles.load(str(tmp_path / "m"))


def test_a_model_that_changes_while_it_is_used_is_refused(
    squares_model: Path, squares: Path
) -> None:
    wanted = replace(request(squares_model), bundle_digest="0" * 64)
    with pytest.raises(ModelError, match="changed while it was in use"):
        classified(wanted, squares / "moving" / "00.mp4", [None])


def test_a_video_of_nothing_that_it_looks_at_is_an_error(squares_model: Path) -> None:
    bundle = bundles.load(str(squares_model))
    with pytest.raises(InputError, match="image, audio") as caught:
        classify_windows.require_streams(bundle, frozenset())
    assert caught.value.code == "no_stream"


def test_scores_are_those_that_training_measured(squares_model: Path, squares: Path) -> None:
    """What the network gives for a clip does not depend on the others in its batch."""
    wanted = request(squares_model)
    model = load_trained(wanted.bundle, wanted.bundle_digest)
    shown = []
    for name in ("moving/00", "still/03", "moving/04"):
        path = squares / f"{name}.mp4"
        shown += reader(model, Video(path)).see([Window(Fraction(0), Video(path).end_s)])
    together = probabilities_of(model, shown, "")
    alone = np.concatenate([probabilities_of(model, [one], "") for one in shown])
    np.testing.assert_allclose(together, alone, atol=1e-5)
