"""When what happens, by models of every kind: what each says of time, and what is refused."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.events import event_clip, tiny, untrained_model
from tests.squares import squares_clip
from tests.wanted import detect_job
from vmm_cli import bundles
from vmm_cli.batch.inputs import Input
from vmm_cli.errors import InputError, ModelError, UsageError
from vmm_cli.inference import classify_windows, load
from vmm_cli.inference import windows as inference_windows
from vmm_cli.operations.detect_actions import Job, finish, plan, run


@pytest.fixture(autouse=True)
def quick(own_cache: None, one_thread: None) -> None:
    """With a store of its own, as in a worker."""


def request(model: Path | str, **more: Any) -> Job:
    return detect_job(bundles.load(str(model)), **more)


def detected(wanted: Job, path: Path, workers: int = 1) -> dict[str, Any]:
    asked = Input(path, path.name, path.stem)
    parts = plan(wanted, asked, workers)
    actions = finish(wanted, asked, [run(wanted, asked, part) for part in parts])
    found: dict[str, Any] = json.loads(json.dumps(actions.to_record()))
    return found


def spans(record: dict[str, Any], label: str) -> list[tuple[float, float]]:
    return [(s["start_s"], s["end_s"]) for s in record["segments"] if s["label"] == label]


# --- a model of windows -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moves from 3 s to 6 s of 9 s: pictures as those that `squares_model` knows."""
    import av

    folder = tmp_path_factory.mktemp("recording")
    kinds = ("still", "moving", "still")
    parts = [squares_clip(folder / f"{i}.mp4", k, seed=i, seconds=3) for i, k in enumerate(kinds)]
    with av.open(str(folder / "all.mp4"), "w") as made:
        stream = made.add_stream("libx264", rate=8, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        number = 0
        for part in parts:
            with av.open(str(part)) as source:
                for frame in source.decode(video=0):
                    frame.pts, frame.time_base = number, Fraction(1, 8)
                    made.mux(stream.encode(frame))
                    number += 1
        made.mux(stream.encode())
    return folder / "all.mp4"


def test_a_model_of_windows_is_slid_over_the_video(squares_model: Path, recording: Path) -> None:
    record = detected(request(squares_model, scores=True), recording)
    assert record["duration_s"] == 9 and record["streams"] == ["image"]
    assert record["model"] == {"name": "tones", "version": 1}
    ((start_s, end_s),) = spans(record, "moving")
    assert start_s == pytest.approx(3, abs=0.5) and end_s == pytest.approx(6, abs=0.5)
    first, *_, last = spans(record, "still")
    assert first[0] == 0 and last[1] == 9
    # Each half second has the score that the windows over it have.
    curves = record["curves"]
    assert curves["times_s"] == [0.25 + 0.5 * i for i in range(18)]
    assert set(curves["labels"]) == {"moving", "still"}
    for moving, still in zip(*curves["labels"].values(), strict=True):
        assert moving + still == pytest.approx(1, abs=1e-4)


def test_the_curve_of_windows_is_that_of_classify(squares_model: Path, recording: Path) -> None:
    wanted = request(squares_model, scores=True, use_store=False)
    curve = detected(wanted, recording)["curves"]["labels"]["moving"]
    same = classify_windows.windows_request(wanted.bundle, windows_s=0.5, use_store=False)
    asked = Input(recording, "a", "a")
    part = classify_windows.run(same, asked, None)
    cells = classify_windows.finish(same, asked, [part]).to_record()
    known = [
        next(label["score"] for label in cell["labels"] if label["label"] == "moving")
        for cell in cells["windows"]
    ]
    assert curve == pytest.approx(known, abs=2e-4)


def test_workers_do_not_show(
    squares_model: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_windows, "CHUNK_STEPS", 8)
    load.load_trained.cache_clear()
    wanted = request(squares_model, scores=True, use_store=False)
    assert len(plan(wanted, Input(recording, "a", "a"), 3)) == 3
    assert detected(wanted, recording, workers=3) == detected(wanted, recording)
    load.load_trained.cache_clear()


def test_what_counts_can_be_chosen(squares_model: Path, recording: Path) -> None:
    moving = detected(request(squares_model, labels=["moving"]), recording)
    assert {s["label"] for s in moving["segments"]} == {"moving"}
    assert "curves" not in moving
    long = detected(request(squares_model, min_duration=4.5), recording)
    assert long["segments"] == []
    joined = detected(request(squares_model, merge_gap=4), recording)
    assert spans(joined, "still") == [(0, 9)]


def test_between_start_and_end(squares_model: Path, recording: Path) -> None:
    record = detected(
        request(squares_model, start=Fraction("4.2"), end=Fraction(8), scores=True), recording
    )
    assert record["curves"]["times_s"][0] == pytest.approx(4.45)
    assert all(4.2 <= s["start_s"] < s["end_s"] <= 8 for s in record["segments"])
    assert record["duration_s"] == 9


# --- a model of single pictures -----------------------------------------------------------------


def test_of_pictures_each_counts_until_the_next(bikes: Path) -> None:
    record = detected(request("imagenet", min_score=0.3, scores=True), bikes)
    assert record["streams"] == ["image"] and record["duration_s"] == 10
    assert record["segments"]
    for segment in record["segments"]:
        assert 0 <= segment["start_s"] < segment["end_s"] <= 10
        assert segment["score"] >= 0.3
    curves = record["curves"]
    for segment in record["segments"]:
        values = curves["labels"][segment["label"]]
        inside = [
            value
            for time_s, value in zip(curves["times_s"], values, strict=True)
            if segment["start_s"] <= time_s < segment["end_s"]
        ]
        assert sum(inside) / len(inside) == pytest.approx(segment["score"], abs=1e-3)
        assert min(inside) >= 0.3
    assert all(max(values) >= 0.05 for values in curves["labels"].values()), "others are not drawn"


def test_of_pictures_between_start_and_end(bikes: Path) -> None:
    """The picture shown at the start was there before it; what is told begins with the start."""
    part = {"start": Fraction("3.21"), "end": Fraction("6.37")}
    record = detected(request("imagenet", min_score=0.01, scores=True, **part), bikes)
    assert record["curves"]["times_s"][0] == 3.21
    assert min(s["start_s"] for s in record["segments"]) == 3.21
    assert max(s["end_s"] for s in record["segments"]) == 6.37


def test_of_pictures_in_parts_and_from_the_store(
    bikes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = request("imagenet", min_score=0.1)
    whole = detected(wanted, bikes)
    assert detected(wanted, bikes, workers=2) == whole
    label = whole["segments"][0]["label"]
    one = detected(request("imagenet", min_score=0.1, labels=[label], scores=True), bikes)
    assert one["segments"] == [s for s in whole["segments"] if s["label"] == label]
    assert list(one["curves"]["labels"]) == [label]


def test_sound_alone_has_no_pictures(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.m4a", picture=False, sound=True)
    with pytest.raises(InputError) as caught:
        detected(request("imagenet"), clip)
    assert caught.value.code == "no_video"


# --- a model for segments -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A model with fresh weights, and a video."""
    folder = tmp_path_factory.mktemp("fresh")
    clip = event_clip(folder / "a.mp4", [(2, 4)], seconds=6.2)
    yield untrained_model(folder / "fresh", tiny(), clip), clip


def test_a_model_for_segments_has_its_own_threshold(fresh: tuple[Path, Path]) -> None:
    model, clip = fresh
    assert request(model).wanted.least == 0.01
    assert request(model, min_score=0.2).wanted.least == 0.2
    record = detected(request(model, min_score=0.005, scores=True), clip)
    assert record["duration_s"] == 6.2 and record["streams"] == ["motion"]
    assert record["segments"]
    assert all(0 <= s["start_s"] < s["end_s"] <= 6.2 for s in record["segments"])
    assert record["segments"] == sorted(
        record["segments"], key=lambda s: (s["start_s"], s["end_s"], s["label"])
    )
    assert record["curves"]["times_s"] == [i / 4 for i in range(25)]
    assert set(record["curves"]["labels"]) == {"moves", "rests"}
    assert {len(values) for values in record["curves"]["labels"].values()} == {25}
    one = detected(request(model, min_score=0.005, labels=["rests"], scores=True), clip)
    assert one["segments"] == [s for s in record["segments"] if s["label"] == "rests"]
    assert set(one["curves"]["labels"]) == {"rests"}


def test_sound_alone_is_nothing_to_a_model_of_motion(
    fresh: tuple[Path, Path], tmp_path: Path
) -> None:
    clip = squares_clip(tmp_path / "a.m4a", picture=False, sound=True)
    with pytest.raises(InputError, match="nothing that the model looks at: motion") as caught:
        detected(request(fresh[0]), clip)
    assert caught.value.code == "no_stream"


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "label", "said"),
    [
        ("fights", "fihgt", "did you mean 'fight'? it knows fight, no_fight"),
        ("fights", "zebra crossing", "has no label 'zebra crossing'; it knows fight, no_fight"),
        ("imagenet", "expresso", "did you mean 'espresso'?"),
        ("imagenet", "qqqq", "988 more"),
    ],
)
def test_a_label_that_the_model_does_not_know_is_refused(model: str, label: str, said: str) -> None:
    bundle = bundles.load(model)
    with pytest.raises(UsageError) as caught:
        detect_job(bundle, labels=[bundle.labels[0], label])
    assert said in str(caught.value)


def test_labels_may_have_their_accents_composed_or_apart() -> None:
    composed, apart = (unicodedata.normalize(form, "agit\u00e9") for form in ("NFC", "NFD"))
    fights = bundles.load("fights")
    for known in (composed, apart):
        model = replace(fights, labels=(known, *fights.labels[1:]))
        assert detect_job(model, labels=[composed, apart]).wanted.labels == (known,)


def test_a_model_of_another_task_is_refused() -> None:
    fights = bundles.load("fights")
    for other in (replace(fights, task="valence"), replace(fights, labels=())):
        with pytest.raises(ModelError, match="not for actions"):
            detect_job(other)


def test_what_is_wrong_with_a_model_is_said_before_work(fresh: tuple[Path, Path]) -> None:
    good = bundles.load(str(fresh[0]))
    for change, said in (
        ({"head": "classes"}, "finds no segments"),
        ({"outputs": 9}, "9 outputs for 2 labels"),
        ({"rate_hz": 0}, "cannot be used"),
    ):
        with pytest.raises(ModelError, match=said):
            detect_job(replace(good, network={**good.network, **change}))
