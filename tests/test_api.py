"""The library, as docs/python.md and the examples use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import vmm_cli as vmm
from tests.squares import KINDS, squares_clip

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.usefixtures("own_cache", "one_thread")


def python(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(os.fspath, map(str, args))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, vmm_cli as vmm; vmm.VmmError, dir(vmm); "
        "print(sorted({'torch', 'av', 'numpy', 'rich', 'typer'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout == "[]\n"


def test_every_name_is_there() -> None:
    assert set(vmm.__all__) == set(vmm._LIBRARY)
    for name in vmm.__all__:
        assert getattr(vmm, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        vmm.clasify  # noqa: B018


# --- files ---------------------------------------------------------------------------------------


def test_files(bikes: Path) -> None:
    assert vmm.probe(bikes).duration_s == 10
    shown = list(vmm.frames(os.fspath(bikes), every=4, short_side=96))
    assert [frame.time_s for frame in shown] == [0, 4, 8]
    assert {frame.image.shape[0] for frame in shown} == {96}
    assert [round(f.time_s, 2) for f in vmm.frames(bikes, at=["0:01", 2.5])] == [1, 2.48]
    assert len(list(vmm.frames(bikes, count=3, start=2, end=4))) == 3
    assert len(list(vmm.frames(bikes, fps=2, end=1))) == 2
    assert len(list(vmm.frames(bikes, end="0:00.2"))) == 5
    first, second, *_ = vmm.shots(bikes)
    assert first.end_s == second.start_s == 1.2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"every": 1, "count": 2}, "every and count contradict each other"),
        ({"every": "soon"}, "every: 'soon' is not a valid time"),
        ({"start": -1}, "start: -1 lies before the start"),
        ({"count": 0}, "count"),
    ],
)
def test_what_cannot_be_asked_for_is_told(bikes: Path, asked: dict[str, object], said: str) -> None:
    with pytest.raises(vmm.UsageError, match=said) as caught:
        list(vmm.frames(bikes, **asked))  # type: ignore[arg-type]
    assert "--" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    for call in (vmm.probe, vmm.shots, vmm.sentiment, vmm.load_model("imagenet").classify):
        with pytest.raises(vmm.InputError) as caught:
            call(tmp_path / "a.mp4")
        assert caught.value.code == "unreadable"
    with pytest.raises(vmm.VmmError, match="no such file"):
        vmm.probe(tmp_path / "b.mp4")


def test_what_is_cut_short_is_a_warning(tmp_path: Path, bunny: Path) -> None:
    cut = tmp_path / "cut.mkv"
    whole = tmp_path / "whole.mkv"
    import av

    with av.open(os.fspath(bunny)) as source, av.open(os.fspath(whole), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(vmm.VmmWarning, match="declared .* s can be read") as caught:
        vmm.shots(cut)
    assert caught[0].filename == __file__
    with pytest.warns(vmm.VmmWarning, match="declared .* s can be read"):
        vmm.load_model("imagenet").classify(cut, count=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vmm.shots(whole)


# --- models --------------------------------------------------------------------------------------


def test_labels(bikes: Path) -> None:
    model = vmm.load_model("imagenet")
    assert (model.name, model.task, len(model.labels)) == ("imagenet", "classes", 1000)
    found = model.classify(bikes, every=5, top_k=2, windows=5)
    assert len(found.labels) == 2 and found.windows is not None and len(found.windows) == 2
    record = found.to_record()
    assert json.loads(json.dumps(record)) == record
    assert record["labels"][0]["label"] == found.labels[0].label
    assert found.labels[0].label in repr(found)
    fights = vmm.load_model("fights")
    explained = fights.classify(bikes, explain=True).explanation
    assert explained is not None and set(explained.without) == {"image", "motion"}
    actions = fights.detect_actions(bikes, labels=["fight"], min_score=0.1)
    assert {one.label for one in actions.segments} == {"fight"}
    assert actions.to_record()["segments"][0]["label"] == "fight"
    assert "fight" in repr(actions)


def test_objects(bikes: Path) -> None:
    found = vmm.load_model("objects").detect_objects(bikes, every=2, end=5, labels=["person"])
    assert {one.label for one in found.objects} == {"person"}
    assert found.objects[1:] == tuple(found.objects)[1:] and found.objects[-1].track is None
    assert "person in 3 pictures)" in repr(found)
    record = found.to_record()
    assert json.loads(json.dumps(record)) == record and len(record["times_s"]) == 3
    with pytest.raises(vmm.UsageError, match="no option 'draw'"):
        vmm.load_model("objects").detect_objects(bikes, draw="out")
    with pytest.raises(vmm.ModelError, match="is for classes, and finds no objects"):
        vmm.load_model("imagenet").detect_objects(bikes)


def test_the_record_is_that_of_the_command(bunny: Path) -> None:
    done = python("-m", "vmm_cli", "classify", bunny, "--count", 3, "--format", "json")
    (record,) = json.loads(done.stdout)
    found = vmm.load_model().classify(bunny, count=3).to_record()
    # A record says where pictures and sound end, whatever the command.
    assert (record.pop("duration_s"), found.pop("duration_s")) == (5.312, 5.312)
    assert (
        record
        == {
            "schema": "vmm.classify/1",
            "input": os.fspath(bunny),
            "status": "ok",
        }
        | found
    )


def holed(bikes: Path, folder: Path) -> Path:
    """A file whose middle cannot be decoded."""
    data = bytearray(bikes.read_bytes())
    data[len(data) // 4 : len(data) // 4 * 3] = bytes(len(data) // 4 * 3 - len(data) // 4)
    path = folder / "holed.mp4"
    path.write_bytes(data)
    return path


def test_what_could_not_be_decoded_is_told_each_time(bikes: Path, tmp_path: Path) -> None:
    """Though features might have been kept."""
    path = holed(bikes, tmp_path)
    model = vmm.load_model("imagenet")
    asks = (
        lambda: model.classify(path, every=1),
        lambda: vmm.load_model("fights").detect_actions(path),
        lambda: list(vmm.frames(path, every=1)),
        lambda: vmm.shots(path),
    )
    for ask in (*asks, *asks):
        with pytest.warns(vmm.VmmWarning, match="pictures could not be decoded from"):
            ask()


def test_a_demonstration_is_told(bikes: Path) -> None:
    with pytest.warns(vmm.VmmWarning, match="'falls' is a demonstration"):
        vmm.load_model("falls").detect_actions(bikes, end=2)


def test_a_model_that_was_trained_again_is_another(bikes: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(vmm.load_model("imagenet").bundle.folder, own)
    assert vmm.load_model(own).classify(bikes, count=1).version == 1
    about = (own / "bundle.yaml").read_text()
    (own / "bundle.yaml").write_text(about.replace("version: 1", "version: 7", 1))
    assert vmm.load_model(own).classify(bikes, count=1).version == 7


def test_a_mood(bunny: Path) -> None:
    found = vmm.sentiment(bunny, every=2, evidence=["text"])
    assert found.curve.valence.dtype == np.float64
    assert len(found.curve.steps.times_s) == len(found.curve.known) == 3
    assert "known" in repr(found)
    assert set(found.to_record()) >= {"curve", "summary", "missing"}


def test_options_by_wrong_names_and_values() -> None:
    model = vmm.load_model("imagenet")
    with pytest.raises(vmm.UsageError, match="no option 'topk'; did you mean 'top_k'"):
        model.classify("a.mp4", topk=2)
    with pytest.raises(vmm.UsageError, match="every and count contradict") as caught:
        model.classify("a.mp4", every=1, count=2)
    assert "--" not in str(caught.value)
    with pytest.raises(vmm.UsageError, match="top_k: 'many' is not a whole number"):
        model.classify("a.mp4", top_k="many")
    with pytest.raises(vmm.UsageError, match="'nose' is not a kind of evidence"):
        vmm.sentiment("a.mp4", evidence=["nose"])
    with pytest.raises(vmm.ModelError, match="did you mean"):
        vmm.load_model("imagnet")
    with pytest.raises(vmm.UsageError, match="train has no option 'sed'; did you mean 'seed'"):
        vmm.train("clips", "run", sed=1)
    for option in ({"strips": "drawn"}, {"overwrite": True}):
        with pytest.raises(vmm.UsageError, match="has no option"):
            model.classify("a.mp4", **option)
    with pytest.raises(vmm.UsageError, match="another model"):
        model.classify("a.mp4", model="fights")
    with pytest.raises(vmm.UsageError, match="there is no task 'class'"):
        vmm.train("clips", "run", task="class")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"recipe": "segments"}, "recipe 'segments' is for segments"),
        ({"name": "my model"}, "'my model' cannot be the name of a model"),
        ({"seeds": 0}, "seeds: 0 is less than 1"),
        ({"changes": "optimisation.epochs=3"}, "changes: give a list of texts"),
        ({"device": "gpu"}, "'gpu' is not a device"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_files_are_read(
    tmp_path: Path, how: dict[str, object], said: str
) -> None:
    with pytest.raises(vmm.UsageError, match=said) as caught:
        vmm.train(tmp_path / "absent", tmp_path / "run", **how)
    assert "--" not in str(caught.value)


def test_numbers_are_taken_as_they_are(bikes: Path) -> None:
    model = vmm.load_model("imagenet")
    third = model.classify(bikes, every=Fraction(1, 3), end=1)
    assert third.frames == 3
    assert model.classify(bikes, start=1e-5, count=1, top_k=None).frames == 1
    assert len(list(vmm.frames(bikes, start=1e-5, end=1, every=Fraction(1, 3)))) == 3
    for asked in ({"fps": "1/0"}, {"short_side": 0}):
        with pytest.raises(vmm.UsageError):
            vmm.frames(bikes, **asked)


# --- examples ------------------------------------------------------------------------------------


def test_example_contact_sheet(bikes: Path, tmp_path: Path) -> None:
    done = python(EXAMPLES / "contact_sheet.py", bikes, tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_example_label_folder(bikes: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"broken")
    (tmp_path / "b.mp4").write_bytes(bikes.read_bytes())
    done = python(EXAMPLES / "label_folder.py", tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("b.mp4,")
    assert "a.mp4" in done.stderr


def test_example_cut_actions(bikes: Path) -> None:
    done = python(EXAMPLES / "cut_actions.py", bikes, "fights")
    assert done.returncode == 0 and done.stdout.startswith("ffmpeg -ss 0.000 -to")


def test_example_mood_curve(bunny: Path) -> None:
    done = python(EXAMPLES / "mood_curve.py", bunny)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3


def test_example_train_and_measure(tmp_path: Path) -> None:
    for split, seeds in (("clips", range(4)), ("held_out", range(4, 5))):
        for kind in KINDS:
            for seed in seeds:
                squares_clip(tmp_path / split / kind / f"{seed}.mp4", kind, seed=seed)
    done = python(
        EXAMPLES / "train_and_measure.py",
        tmp_path / "clips",
        tmp_path / "held_out",
        tmp_path / "run",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accuracy ") and done.stdout.endswith("2 clips\n")
    assert vmm.load_model(tmp_path / "run").task == "classes"
