"""Reading timed annotations, holding them against the videos, and saying what is in them."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.command import Vmm
from vmm_cli.errors import DataError
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import DataSet, Problem, Sample, Segment
from vmm_cli.training.data.splits import check_divisible, check_for_training, with_validation
from vmm_cli.training.summary import summary

Render = Callable[..., Path]
Span = tuple[float, float, str]

# Of these small sets it is no news that labels are rare.
EXPECTED = {"one_sample"}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def entry(file: str | None, *spans: Span, **more: Any) -> dict[str, Any]:
    annotations = [{"label": label, "segment": [start, end]} for start, end, label in spans]
    return {"file": file, "annotations": annotations, **more}


def activitynet(folder: Path, **entries: Any) -> Path:
    path = folder / "annotations.json"
    path.write_text(json.dumps({"version": "1", "database": entries}))
    return path


def table(folder: Path, text: str, name: str = "annotations.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def found(dataset: DataSet) -> dict[str, list[Span]]:
    return {
        sample.name: [(s.start_s, s.end_s, s.label) for s in sample.segments or ()]
        for sample in dataset.samples
    }


def wrong(dataset: DataSet) -> list[tuple[str, str, str]]:
    return [(p.level, p.kind, p.where) for p in dataset.problems if p.kind not in EXPECTED]


def messages(dataset: DataSet) -> list[str]:
    return [str(problem) for problem in dataset.problems if problem.kind not in EXPECTED]


def refusal(source: Path, **columns: str) -> str:
    with pytest.raises(DataError) as refused:
        read_segments(source, **columns)
    return str(refused.value)


# --- ActivityNet's JSON -------------------------------------------------------------------------


def test_activitynets_form_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "videos/a.mp4", "videos/b.mp4", "videos/c.mp4")
    source = activitynet(
        tmp_path,
        a=entry("videos/a.mp4", (5, 9.5, "walk"), (0, 6, "fall"), subset="training", duration=12),
        b=entry("videos/b.mp4", (1, 2, "walk"), subset="validation", group="cam1", fold="x"),
        c=entry("videos/c.mp4", subset="testing", group=7),
    )
    dataset = read_segments(source)
    assert dataset.samples[0] == Sample(
        path=tmp_path / "videos/a.mp4",
        name="videos/a.mp4",
        labels=("fall", "walk"),
        split="train",
        group=None,
        fold=None,
        segments=(Segment(0, 6, "fall"), Segment(5, 9.5, "walk")),
    )
    assert [(s.split, s.group, s.fold, s.labels) for s in dataset.samples[1:]] == [
        ("val", "cam1", "x", ("walk",)),
        ("test", "7", None, ()),
    ]
    assert dataset.labels == ("fall", "walk")
    assert (
        dataset.multi_label
        and dataset.task == "segments"
        and dataset.has_groups
        and dataset.has_folds
    )
    assert wrong(dataset) == [
        ("warning", "no_group", "videos/a.mp4"),
        ("warning", "nothing_annotated", "test"),
    ]


def test_groups_and_folds_may_have_other_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    source = activitynet(tmp_path, a=entry("a.mp4", (0, 1, "x"), Person="p", part=3))
    (sample,) = read_segments(source, group="person", fold="Part").samples
    assert (sample.group, sample.fold) == ("p", "3")
    message = refusal(source, group="persons")
    assert "has no column 'persons'" in message and "did you mean 'person'?" in message


def test_an_entry_that_cannot_be_used_costs_itself_alone(tmp_path: Path) -> None:
    touch(tmp_path, "good.mp4", "late.mp4")
    source = activitynet(
        tmp_path,
        good=entry("good.mp4", (0, 1, "x"), (3, 2, "x"), (4, 4, "x"), (-1, 2, "x"), (0, 9, "a/b")),
        gone=entry("gone.mp4", (0, 1, "x"), (1, 2, "x")),
        nameless=entry(None, (0, 1, "x")),
        silent={"file": "late.mp4"},
        odd=["late.mp4"],
        late=entry("late.mp4", (5, 1, "x"), subset="training"),
        nul=entry("a\0.mp4", (0, 1, "x")),
        surrogate=entry("\ud800.mp4"),
        number={**entry(None), "file": 1.5},
        elsewhere=entry("good.mp4", (7, 8, "x"), subset="holdout"),
        timeless={"file": "late.mp4", "annotations": [{"label": "x"}]},
    )
    dataset = read_segments(source)
    assert found(dataset) == {"good.mp4": [(0, 1, "x")]}
    name = source.name
    assert wrong(dataset) == [
        ("error", "missing", f"{name}[nameless]"),
        ("error", "no_segment", f"{name}[silent]"),
        ("error", "json", f"{name}[odd]"),
        ("error", "times", f"{name}[timeless] annotation 1"),
        ("error", "no_segment", f"{name}[timeless]"),
        ("error", "times", f"{name}[good] annotation 2"),
        ("error", "times", f"{name}[good] annotation 3"),
        ("error", "times", f"{name}[good] annotation 4"),
        ("error", "label_name", f"{name}[good] annotation 5"),
        ("error", "missing", f"{name}[gone] annotation 1"),  # once, not for each of its actions
        ("error", "times", f"{name}[late] annotation 1"),
        ("error", "missing", f"{name}[nul] annotation 1"),
        ("error", "missing", f"{name}[surrogate]"),
        ("error", "path", f"{name}[number]"),
        ("error", "split", f"{name}[elsewhere] annotation 1"),
        ("error", "no_segment", f"{name}[late] annotation 1"),
    ]
    said = messages(dataset)
    assert f'names no file; add "file": its path from {tmp_path}/; left out' in said[0]
    assert "its end 2 is not after its start 3; left out" in said[5]
    assert "'gone.mp4': no such file; left out" in said[9]
    assert "of 'late.mp4' no action can be used; the video is left out" in said[-1]


def test_annotations_of_another_form_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    annotations: list[object] = [
        {"label": "x", "segment": [0, 1]},
        {"label": "x", "segment": [0]},
        {"label": "x"},
        "x",
        {"segment": [0, 1]},
        {"label": 1.5, "segment": [0, 1]},
        {"label": "x", "segment": [None, 1]},
        {"label": "x", "segment": [True, 1]},
        {"label": "x", "segment": [0, math.nan]},
        {"label": "x", "segment": [0, math.inf]},
        {"label": "x", "segment": [0, 10**400]},
    ]
    dataset = read_segments(activitynet(tmp_path, a={"file": "a.mp4", "annotations": annotations}))
    assert found(dataset) == {"a.mp4": [(0, 1, "x")]}
    told = {p.where.split()[-1]: p.kind for p in dataset.problems if p.kind not in EXPECTED}
    assert told == {
        **dict.fromkeys(("2", "3", "4", "7", "8", "9", "10", "11"), "times"),
        "5": "unlabelled",
        "6": "label",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not readable as JSON"),
        ('{"database":\n {"a" 1}}', "is not readable as JSON: Expecting ':' delimiter: line 2"),
        ("[" * 100_000, "is not readable as JSON: nested too deeply"),
        ("[]", 'has no "database"; annotations look like {"database": {"ID"'),
        ('{"results": {}}', 'has no "database"'),
        ('{"database": {}}', "has no rows"),
    ],
)
def test_a_json_file_of_another_form_says_what_is_wanted(
    tmp_path: Path, text: str, reason: str
) -> None:
    source = table(tmp_path, text, "a.json")
    message = refusal(source)
    assert message.startswith(f"{source}: ") and reason in message


def test_an_id_that_is_there_twice_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    one = json.dumps(entry("a.mp4", (0, 1, "x")))
    two = json.dumps(entry("a.mp4", (2, 3, "x")))
    source = table(tmp_path, f'{{"database": {{"v": {one}, "v": {two}}}}}', "a.json")
    dataset = read_segments(source)
    assert found(dataset) == {"a.mp4": [(2, 3, "x")]}
    assert wrong(dataset) == [("error", "duplicate", "a.json[v]")]


# --- tables -------------------------------------------------------------------------------------

HEADER = "path,start,end,label,split,group,fold\n"


def test_rows_of_one_file_are_joined(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    source = table(
        tmp_path,
        HEADER + "a.mp4,4,6,walk,train,g,\n"
        "b.mp4,0,1,walk|wave,Validation,h,\n"
        "a.mp4,0.5,5,fall,,,2\n"
        "./a.mp4,7,8,walk,training,,\n"
        "c.mp4,,,,train,h,\n",
    )
    dataset = read_segments(source)
    assert found(dataset) == {
        "a.mp4": [(0.5, 5, "fall"), (4, 6, "walk"), (7, 8, "walk")],
        "b.mp4": [(0, 1, "walk"), (0, 1, "wave")],
        "c.mp4": [],
    }
    assert [(s.split, s.group, s.fold) for s in dataset.samples] == [
        ("train", "g", "2"),
        ("val", "h", None),
        ("train", "h", None),
    ]
    lines = [
        {"path": "a.mp4", "start": 4, "end": 6.5, "label": "walk", "split": "train"},
        {"path": "b.mp4", "start": "0", "end": 1, "label": ["walk", "wave"]},
        {"path": "c.mp4"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    again = read_segments(table(tmp_path, text, "a.jsonl"))
    assert found(again) == {
        "a.mp4": [(4, 6.5, "walk")],
        "b.mp4": [(0, 1, "walk"), (0, 1, "wave")],
        "c.mp4": [],
    }


def test_rows_that_contradict_or_repeat_each_other_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    source = table(
        tmp_path,
        HEADER + "a.mp4,0,1,x,train,g,1\n"
        "a.mp4,2,3,x,val,g,1\n"
        "a.mp4,4,5,x,val,g,1\n"
        "a.mp4,6,7,x,train,h,1\n"
        "a.mp4,8,9,x,train,g,2\n"
        "a.mp4,0,1.0,x,,,\n"
        "a.mp4,10,11,x,,,\n",
    )
    dataset = read_segments(source)
    assert found(dataset) == {"a.mp4": [(0, 1, "x"), (10, 11, "x")]}
    assert wrong(dataset) == [
        ("error", "split", "annotations.csv:3"),
        ("error", "group", "annotations.csv:5"),
        ("error", "fold", "annotations.csv:6"),
        ("warning", "duplicate", "annotations.csv:7"),
    ]
    said = messages(dataset)
    assert "gives 'a.mp4' the split 'val', annotations.csv:2 gives 'train'; left out" in said[0]
    assert said[0].endswith("left out (and 1 more like it)")
    assert "repeats annotations.csv:2" in said[-1]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        (",0,1,x", "missing", "names no path"),
        ("gone.mp4,0,1,x", "missing", "'gone.mp4': no such file"),
        ("sub,0,1,x", "unreadable", "'sub': is a folder"),
        ("a.mp4,,1,x", "times", "has no start"),
        ("a.mp4,0,,x", "times", "has no end"),
        ("a.mp4,,,x", "times", "has no start"),
        ("a.mp4,0,1,", "unlabelled", "has no label"),
        ("a.mp4,0:05,1,x", "times", "its start '0:05' is not a number of seconds"),
        ("a.mp4,-2,1,x", "times", "its start '-2' is no time in the file"),
        ("a.mp4,0,nan,x", "times", "its end 'nan' is no time in the file"),
        ("a.mp4,0,1,x,dev", "split", "its split 'dev' is none of train, val"),
        ("a.mp4,0,1,..", "label_name", "reads as a path"),
    ],
)
def test_a_row_that_cannot_be_used_costs_itself_alone(
    tmp_path: Path, row: str, kind: str, message: str
) -> None:
    touch(tmp_path, "a.mp4", "sub/b.mp4")
    dataset = read_segments(table(tmp_path, f"{HEADER}a.mp4,5,6,x\n{row}\n"))
    assert found(dataset) == {"a.mp4": [(5, 6, "x")]}
    assert wrong(dataset) == [("error", kind, "annotations.csv:3")]
    assert message in messages(dataset)[0]


def test_a_file_of_another_kind_says_which_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    wanted = "vmm reads .json as ActivityNet writes it, and .csv and .jsonl with the columns"
    for source in (tmp_path, tmp_path / "gone.json", tmp_path / "a.mp4"):
        message = refusal(source)
        assert str(source) in message and wanted in message
    message = refusal(table(tmp_path, "path,label\na.mp4,x\n"))
    assert "has no columns 'start' and 'end'; found: path, label" in message
    assert "labels without times are for classes" in message
    assert "no sample can be used: annotations.csv:2: " in refusal(
        table(tmp_path, "path,start,end,label\na.mp4,2,1,x\n")
    )
    with pytest.raises(DataError, match="annotated actions are for segments"):
        read_classes(table(tmp_path, "{}", "a.json"))


def test_videos_that_nothing_names_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "v/a.mp4", "v/b.mp4", "v/c.mkv", "v/notes.txt", "v/.hidden.mp4", "other/d.mp4")
    touch(tmp_path, "v/broken.mp4")
    source = table(tmp_path, HEADER + "v/a.mp4,0,1,x\nv/broken.mp4,2,1,x\n")
    dataset = read_segments(source)
    assert messages(dataset)[-1] == (
        "v/b.mp4: 2 videos beside the annotated ones without annotations, this one first; not used"
    )


# --- segments and samples -----------------------------------------------------------------------


def test_segments_are_checked_when_they_are_made(tmp_path: Path) -> None:
    for start_s, end_s in ((-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)):
        with pytest.raises(ValueError, match="no span"):
            Segment(start_s, end_s, "x")
    first, second = Segment(0, 2, "b"), Segment(1, 2, "a")
    good = Sample(tmp_path, "a", ("a", "b"), None, None, None, segments=(first, second))
    with pytest.raises(ValueError, match="sorted"):
        replace(good, segments=(second, first))
    with pytest.raises(ValueError, match="labels"):
        replace(good, labels=("a",))
    with pytest.raises(ValueError, match="labels"):
        replace(good, labels=(), segments=None)


def test_labels_of_one_segment_or_one_video_are_warned_of(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    rows = "a.mp4,0,1,x\na.mp4,1,2,y\na.mp4,3,4,y\na.mp4,0,1,z\nb.mp4,0,1,z\n"
    assert [str(p) for p in read_segments(table(tmp_path, HEADER + rows)).problems] == [
        "x: only one segment has this label; nothing can be measured on it",
        "y: only one video has segments with this label; nothing can be measured on it",
    ]


# --- against the videos -------------------------------------------------------------------------


def looked_into(source: Path) -> Inspection:
    return inspect(read_segments(source), jobs=1, max_pixels=DEFAULT_MAX_PIXELS)


def clip(render_clip: Render, name: str, frames: int) -> Path:
    return render_clip(name, frames=frames, width=64, height=48)


def test_times_are_held_against_the_duration(tmp_path: Path, render_clip: Render) -> None:
    clip(render_clip, "a.mp4", frames=50)  # 2 s
    clip(render_clip, "frames.mp4", frames=50)
    clip(render_clip, "far.mp4", frames=50)
    clip(render_clip, "some.mp4", frames=51)
    rows = (
        "a.mp4,0,2.05,x\na.mp4,1,9,x\na.mp4,1,4,x\na.mp4,2,3,x\na.mp4,7,8,y\n"
        "frames.mp4,10,25,x\nframes.mp4,30,49,z\nfar.mp4,1000,2000,x\n"
        "some.mp4,0,25,x\nsome.mp4,30,49,x\n"
    )
    dataset = looked_into(table(tmp_path, HEADER + rows)).dataset
    end = pytest.approx(2, abs=0.01)
    assert found(dataset) == {
        "a.mp4": [(0, 2.05, "x"), (1, end, "x")],
        "some.mp4": [(0, pytest.approx(2.04, abs=0.01), "x")],
    }
    assert [sample.labels for sample in dataset.samples] == [("x",), ("x",)]
    assert dataset.labels == ("x",)
    lost = [p.where for p in dataset.problems if p.kind == "no_segment"]
    assert lost == ["frames.mp4", "far.mp4"]
    assert messages(dataset) == [
        "a.mp4: 'x' from 2 to 3 s begins after the file's end at 2.00 s; dropped",
        "a.mp4: 'y' from 7 to 8 s begins after the file's end at 2.00 s; dropped",
        "a.mp4: 'x' from 1 to 4 s ends after the file's end at 2.00 s; cut there",
        "a.mp4: 'x' from 1 to 9 s ends after the file's end at 2.00 s; cut there",
        "frames.mp4: all of its actions begin after its end at 2.00 s; left out; its times look "
        "like frame numbers: divide them by 25 to get seconds",
        "far.mp4: all of its actions begin after its end at 2.00 s; left out; are its times in "
        "seconds, and of this file?",
        "some.mp4: 'x' from 30 to 49 s begins after the file's end at 2.04 s; dropped",
        "some.mp4: 'x' from 0 to 25 s ends after the file's end at 2.04 s; cut there",
        "some.mp4: its times look like frame numbers: divide them by 25 to get seconds",
        "y: no action with this label can be used; the label is left out",
        "z: no action with this label can be used; the label is left out",
    ]


def test_frame_numbers_everywhere_are_told_in_the_refusal(
    tmp_path: Path, render_clip: Render
) -> None:
    clip(render_clip, "a.mp4", frames=50)
    with pytest.raises(
        DataError, match=r"no sample can be used: a\.mp4: .* look like frame numbers"
    ):
        looked_into(table(tmp_path, HEADER + "a.mp4,10,25,x\n"))


def test_the_same_recording_with_other_actions_is_told(tmp_path: Path, render_clip: Render) -> None:
    content = clip(render_clip, "a.mp4", frames=50).read_bytes()
    for name in ("b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(content)
    rows = "a.mp4,0,1,x\nb.mp4,0,1,x\nc.mp4,1,2,x\n"
    three = looked_into(table(tmp_path, HEADER + rows)).dataset
    assert wrong(three) == [("error", "other_actions", "a.mp4")]
    rows = "a.mp4,0,1,x\nb.mp4,0,1,x\n"
    two = looked_into(table(tmp_path, HEADER + rows, "two.csv")).dataset
    assert ("warning", "duplicate", "a.mp4") in wrong(two)


def test_the_summary_counts_lasts_and_overlaps(tmp_path: Path, render_clip: Render) -> None:
    for name, frames in (("a.mp4", 100), ("b.mp4", 50), ("c.mp4", 50)):
        clip(render_clip, name, frames)
    rows = (
        "a.mp4,0,2,walk,train\na.mp4,1,3,wave,train\na.mp4,1.5,2.5,walk,train\n"
        "b.mp4,0,1,walk,val\nc.mp4,,,,val\n"
    )
    said = summary(looked_into(table(tmp_path, HEADER + rows)))
    assert json.loads(json.dumps(said)) == said
    assert (said["n"], said["multi_label"]) == (3, True)
    assert said["labels"]["walk"] == {"n": 2, "train": 1, "val": 1}
    assert said["balance"]["majority"] == "walk"
    assert said["balance"]["majority_share"] == 3 / 4
    segments = said["segments"]
    assert (segments["n"], segments["videos_without"]) == (4, 1)
    assert segments["labels"]["walk"] == {
        "segments": {"n": 3, "train": 2, "val": 1},
        "videos": 2,
        "durations_s": {"min": 1, "median": 1, "max": 2, "total": 4},
        # [0, 2.5) and [0, 1) of 8 seconds: what both cover counts once
        "share": pytest.approx(3.5 / 8, rel=0.01),
    }
    assert segments["overlaps"] == {
        "segments": 3,
        "with_their_own_label": 2,
        "pairs": [
            {"labels": ["walk", "wave"], "n": 2, "shared_s": 2.0},
            {"labels": ["walk", "walk"], "n": 1, "shared_s": 0.5},
        ],
    }
    assert segments["share"] == pytest.approx(4 / 8, rel=0.01)
    assert segments["unlabelled_s"] == pytest.approx(4, abs=0.1)


def test_without_any_action_there_is_still_a_summary(tmp_path: Path, render_clip: Render) -> None:
    clip(render_clip, "a.mp4", frames=25)
    said = summary(looked_into(table(tmp_path, HEADER + "a.mp4,,,\n")))
    assert said["balance"] is None and said["labels"] == {}
    assert said["segments"]["overlaps"] == {"segments": 0, "with_their_own_label": 0, "pairs": []}


# --- dividing -----------------------------------------------------------------------------------


def annotated(number: int, *spans: Span, split: str | None = None) -> dict[str, Any]:
    return entry(f"{number}.mp4", *spans, subset=split)


def dataset_of(folder: Path, entries: Sequence[dict[str, Any]]) -> DataSet:
    touch(folder, *(found["file"] for found in entries))
    return read_segments(activitynet(folder, **{f"v{i}": e for i, e in enumerate(entries)}))


def test_one_label_is_enough_and_each_side_has_some(tmp_path: Path) -> None:
    rows = [annotated(i, *([(0, 1, "fall")] if i < 4 else [])) for i in range(20)]
    dataset = dataset_of(tmp_path, rows)
    for seed in range(10):
        divided = with_validation(dataset, seed=seed)
        check_for_training(divided)
        val = [s for s in divided.samples if s.split == "val"]
        assert 2 <= len(val) <= 6 and any(s.labels for s in val)


def test_where_all_is_training_a_validation_is_made(tmp_path: Path) -> None:
    rows = [annotated(i, (0, 1, "ab"[i % 2]), split="training") for i in range(10)]
    divided = with_validation(dataset_of(tmp_path, rows), seed=0)
    check_for_training(divided)
    assert Counter(s.split for s in divided.samples) == {"train": 8, "val": 2}


def test_an_action_never_seen_in_training_is_told_and_costs_no_other(tmp_path: Path) -> None:
    dataset = dataset_of(
        tmp_path,
        [annotated(0, (0, 1, "x"), split="train"), annotated(1, (0, 1, "y"), split="val")],
    )
    assert ("error", "unseen_in_train", "y") in wrong(dataset)
    check_for_training(dataset)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([annotated(0), annotated(1)], "no action is annotated in any video"),
        (
            [annotated(0, (0, 1, "fall"), split="train"), annotated(1, split="val")],
            "no sample for validation has an action",
        ),
        (
            [annotated(0, split="train"), annotated(1, (0, 1, "y"), split="val")],
            "no sample in train has the label 'y'",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        check_for_training(with_validation(dataset_of(tmp_path, rows), seed=0))


# --- the command, and real annotations ----------------------------------------------------------


def test_check_tells_what_is_annotated(run_vmm: Vmm, tmp_path: Path, render_clip: Render) -> None:
    for i in range(3):
        clip(render_clip, f"{i}.mp4", frames=50)
    rows = "0.mp4,0,1,walk\n0.mp4,0.5,1.5,wave\n1.mp4,0,2,walk\n1.mp4,30,40,wave\n2.mp4,,,\n"
    source = table(tmp_path, HEADER + rows)
    asked = ("train", source, "--task", "segments", "--check", "--jobs", "1")
    done = run_vmm(*asked)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segments"]["n"] == 3
    shown = run_vmm(*asked, "--format", "table")
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["walk", "2", "2", "1.0", "1.5", "2.0", "0:03.000", "50.0"] in lines
    assert ["actions", "3"] in lines and ["samples", "without", "any", "1"] in lines
    assert "2 actions overlap another, 0 with one of their own label" in shown.stdout
    assert "walk and wave: 1 (0.5 s)" in shown.stdout
    assert "'wave' from 30 to 40 s begins after the file's end" in shown.stderr


def test_real_annotations_are_read_whole(vmm_data: Path) -> None:
    overhead = read_segments(vmm_data / "overhead/annotations.json")
    assert len(overhead.samples) == 15 and len(overhead.labels) == 9
    assert sum(len(s.segments or ()) for s in overhead.samples) == 194
    assert wrong(overhead) == [] and overhead.has_groups
    check_for_training(with_validation(overhead, seed=0))
    by_date = read_segments(vmm_data / "overhead/annotations.json", fold="group")
    check_divisible(by_date, seed=0, folds=True, contents={})
    falls = read_segments(vmm_data / "falls/annotations.json")
    assert len(falls.samples) == 19
    assert [p for p in falls.problems if isinstance(p, Problem) and p.level == "error"] == [
        p for p in falls.problems if p.kind == "unseen_in_train"
    ]
    check_for_training(falls)


def test_accents_of_labels_and_names_are_one_however_they_are_stored(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "\u00e9t\u00e9") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{apart}.mp4")
    spans = ((0.0, 1.0, composed), (2.0, 3.0, apart))
    dataset = read_segments(activitynet(tmp_path, a=entry(f"{composed}.mp4", *spans)))
    assert found(dataset) == {f"{composed}.mp4": [(0, 1, composed), (2, 3, composed)]}
    assert dataset.labels == (composed,)
    assert [p.kind for p in dataset.problems if p.kind not in EXPECTED] == ["label_form"]
