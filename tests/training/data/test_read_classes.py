"""Reading, looking into and dividing data sets; what is wrong is told, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmm_cli.errors import DataError
from vmm_cli.media.extensions import OTHER_EXTENSIONS, SOUND_EXTENSIONS, VIDEO_EXTENSIONS
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.training.data.action_times import sharing_time
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.left_out import samples_left_out
from vmm_cli.training.data.read_classes import CLASSES, read_classes
from vmm_cli.training.data.samples import SPLITS, DataSet, Problem, Sample, Segment, make_dataset
from vmm_cli.training.data.splits import check_for_training, with_validation
from vmm_cli.training.summary import summary

Render = Callable[..., Path]


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def folder(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        touch(path / name)
    return path


def manifest(tmp_path: Path, text: str | bytes, *videos: str, name: str = "clips.csv") -> Path:
    folder(tmp_path, *videos)
    return touch(tmp_path / name, text.encode() if isinstance(text, str) else text)


def found(dataset: DataSet) -> dict[str, tuple[str, ...]]:
    return {sample.name: sample.labels for sample in dataset.samples}


def kinds(problems: Iterable[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.level, problem.kind, problem.where) for problem in problems]


def wrong(dataset: DataSet) -> list[tuple[str, str, str]]:
    """What was found wrong, but that labels of these small sets have one sample."""
    return kinds(p for p in dataset.problems if p.kind != "one_sample")


def refusal(source: Path, **columns: str) -> str:
    with pytest.raises(DataError) as refused:
        read_classes(source, **columns)
    return str(refused.value)


# --- folders ------------------------------------------------------------------------------------


def test_a_folder_per_class_is_searched_below_and_without_what_is_hidden(tmp_path: Path) -> None:
    source = folder(
        tmp_path / "d", "fight/b.mp4", "fight/cam1/a.avi", "calm/c.mkv", "calm/.h.mp4", ".g/x.mp4"
    )
    folder(source, "calm/notes.txt", "README.md", "calm/c.srt")
    dataset = read_classes(source)
    assert found(dataset) == {
        "calm/c.mkv": ("calm",),
        "fight/b.mp4": ("fight",),
        "fight/cam1/a.avi": ("fight",),
    }
    assert dataset.samples[0] == Sample(
        source / "calm/c.mkv", "calm/c.mkv", ("calm",), split=None, group=None, fold=None
    )
    assert dataset.labels == ("calm", "fight")
    assert (dataset.multi_label, dataset.has_groups, dataset.has_folds) == (False, False, False)
    assert kinds(dataset.problems) == [("warning", "one_sample", "calm")]
    assert repr(dataset) == f"DataSet({str(source)!r}: 3 samples, 2 labels, 1 problems)"


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_train_val_and_test_on_top_are_splits(tmp_path: Path, val: str) -> None:
    source = folder(tmp_path / "d", "train/a/1.mp4", "train/b/2.mp4", f"{val}/a/3.mp4")
    folder(source, "test/b/sub/4.mp4")
    dataset = read_classes(source)
    assert {s.name: (s.labels, s.split) for s in dataset.samples} == {
        "train/a/1.mp4": (("a",), "train"),
        "train/b/2.mp4": (("b",), "train"),
        f"{val}/a/3.mp4": (("a",), "val"),
        "test/b/sub/4.mp4": (("b",), "test"),
    }


def test_what_lies_outside_the_splits_or_the_classes_is_reported(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "train/a/1.mp4", "train/loose.mp4", "extra/a/2.mp4", "top.mp4")
    dataset = read_classes(source)
    assert list(found(dataset)) == ["train/a/1.mp4"]
    assert wrong(dataset) == [
        ("error", "no_split", "extra/a/2.mp4"),
        ("error", "no_split", "top.mp4"),
        ("error", "unlabelled", "train/loose.mp4"),
    ]


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "test/1.mp4", "crash/2.mp4", "loose.mp4")
    dataset = read_classes(source)
    assert found(dataset) == {"crash/2.mp4": ("crash",), "test/1.mp4": ("test",)}
    assert wrong(dataset) == [("error", "unlabelled", "loose.mp4")]


def test_splits_without_classes_are_no_classes(tmp_path: Path) -> None:
    message = refusal(folder(tmp_path / "d", "train/1.mp4", "test/2.mp4"))
    assert "train/1.mp4: lies in no class folder" in message


def test_an_empty_class_is_listed(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "a/1.mp4", "b/notes.txt")
    assert wrong(read_classes(source)) == [("error", "empty_class", "b")]
    assert "b: this class folder holds no video and no sound" in refusal(
        folder(tmp_path / "e", "b/notes.txt")
    )


def test_class_folders_that_differ_in_outer_spaces_are_one_class(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "cat/1.mp4", "cat /2.mp4", "dog/3.mp4", "dog /notes.txt")
    dataset = read_classes(source)
    assert dataset.labels == ("cat", "dog")
    spaced = [p for p in dataset.problems if p.kind == "label_spaces"]
    assert [str(p) for p in spaced] == [
        "cat: is written with and without spaces around it; all count as 'cat'"
    ]
    splits = folder(tmp_path / "e", "train/cat/1.mp4", "val/cat /2.mp4")
    assert ("warning", "label_spaces", "cat") in wrong(read_classes(splits))


def test_where_no_class_has_a_video_its_sounds_are_the_samples(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "a/1.wav", "a/sub/2.FLAC", "b/3.mp3", "c/x.txt", "loose.m4a")
    dataset = read_classes(source)
    assert found(dataset) == {"a/1.wav": ("a",), "a/sub/2.FLAC": ("a",), "b/3.mp3": ("b",)}
    assert wrong(dataset) == [
        ("error", "empty_class", "c"),
        ("error", "unlabelled", "loose.m4a"),
    ]
    splits = read_classes(folder(tmp_path / "e", "train/a/1.opus", "train/b/2.ogg", "val/a/3.wma"))
    assert [s.split for s in splits.samples] == ["train", "train", "val"]


def test_sound_beside_videos_is_no_sample(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "a/1.mp4", "a/1.wav", "b/2.wav")
    dataset = read_classes(source)
    assert list(found(dataset)) == ["a/1.mp4"]
    assert wrong(dataset) == [("error", "empty_class", "b")]
    assert "holds sound alone, and others hold video" in str(dataset.problems[0])


def test_what_is_wrong_with_videos_is_told_where_only_sounds_are_left(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "a/1.wav", "b/2.wav", "loose.mp4")
    (source / "b/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    dataset = read_classes(source)
    assert list(found(dataset)) == ["a/1.wav", "b/2.wav"]
    assert wrong(dataset) == [
        ("error", "missing", "b/gone.mp4"),
        ("error", "unlabelled", "loose.mp4"),
    ]


def test_every_extension_that_is_no_video_is_sound_or_a_still() -> None:
    stills = {".avif", ".cr3", ".heic", ".heif", ".webp"}
    assert stills == OTHER_EXTENSIONS - SOUND_EXTENSIONS
    assert not SOUND_EXTENSIONS & VIDEO_EXTENSIONS


def test_a_folder_without_any_video_says_what_is_wanted(tmp_path: Path) -> None:
    assert "holds a video or a sound; vmm trains on a folder per class" in refusal(
        folder(tmp_path, "a.txt")
    )
    (tmp_path / "empty").mkdir()
    assert "holds a video or a sound; vmm trains on a folder per class" in refusal(
        tmp_path / "empty"
    )
    assert "no such file" in refusal(tmp_path / "nowhere")


def test_loops_of_links_end_and_do_not_mix_classes(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "a/1.mp4", "b/2.mp4", "a/sub/3.mp4")
    (source / "a/up").symlink_to(source)  # would bring all classes into one
    (source / "a/sub/around").symlink_to(source / "a/sub")
    (source / "all").symlink_to(".")
    (source / "self").symlink_to("self")
    dataset = read_classes(source)
    assert found(dataset) == {"a/1.mp4": ("a",), "a/sub/3.mp4": ("a",), "b/2.mp4": ("b",)}
    loops = [p.where for p in dataset.problems if p.kind == "loop"]
    assert loops == ["a/sub/around", "a/up", "all"]


def test_links_to_elsewhere_are_followed_and_broken_ones_listed(tmp_path: Path) -> None:
    elsewhere = folder(tmp_path / "e", "1.mp4", "x/2.mp4")
    source = folder(tmp_path / "d", "b/3.mp4")
    (source / "a").symlink_to(elsewhere)
    (source / "b/4.mp4").symlink_to(elsewhere / "1.mp4")
    (source / "b/gone.mp4").symlink_to(elsewhere / "gone.mp4")
    os.mkfifo(source / "b/fifo.mp4")
    dataset = read_classes(source)
    assert list(found(dataset)) == ["a/1.mp4", "a/x/2.mp4", "b/3.mp4", "b/4.mp4"]
    assert wrong(dataset) == [
        ("error", "unreadable", "b/fifo.mp4"),
        ("error", "missing", "b/gone.mp4"),
    ]


def test_a_folder_has_no_columns(tmp_path: Path) -> None:
    assert "no column 'speaker'" in refusal(folder(tmp_path, "a/1.mp4"), group="speaker")


# --- manifests ----------------------------------------------------------------------------------


def test_every_column_of_a_manifest_is_read(tmp_path: Path) -> None:
    source = manifest(
        tmp_path,
        "Path, Label ,split,group,fold,start,end,text,note\n"
        'x/a.mp4,fight,train,g1,0,1.5,3,"words, more",?\n'
        "x/b.mp4,calm,validation,,,,,,\n",
        "x/a.mp4",
        "x/b.mp4",
    )
    first, second = read_classes(source).samples
    assert first == Sample(
        tmp_path / "x/a.mp4", "x/a.mp4", ("fight",), "train", "g1", "0", 1.5, 3.0, "words, more"
    )
    assert second == Sample(tmp_path / "x/b.mp4", "x/b.mp4", ("calm",), "val", None, None)


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"path": "a.mp4", "label": "fight", "fold": 3, "start": 1, "end": None, "text": ""},
        {"path": "b.mp4", "label": ["x|y", "calm"], "split": "test"},
        {"path": "c.mp4", "label": "calm|fight|calm"},
    ]
    text = "\r\n".join(map(json.dumps, rows)) + "\r\n\r\n"
    dataset = read_classes(manifest(tmp_path, text, "a.mp4", "b.mp4", "c.mp4", name="m.jsonl"))
    assert found(dataset) == {
        "a.mp4": ("fight",),
        "b.mp4": ("calm", "x|y"),
        "c.mp4": ("calm", "fight"),
    }
    assert dataset.multi_label and dataset.labels == ("calm", "fight", "x|y")
    assert (dataset.samples[0].fold, dataset.samples[0].start_s) == ("3", 1.0)
    assert dataset.samples[0].text is None


def test_bars_separate_labels_in_manifests_only(tmp_path: Path) -> None:
    source = manifest(tmp_path, "path,label\na.mp4, b | a ||b\n", "a.mp4")
    assert read_classes(source).samples[0].labels == ("a", "b")
    by_folder = read_classes(folder(tmp_path / "d", "a|b/1.mp4", "c/2.mp4"))
    assert by_folder.labels == ("a|b", "c") and not by_folder.multi_label


def test_other_columns_may_be_named_for_group_and_fold(tmp_path: Path) -> None:
    text = "path,label,group,Speaker,part\na.mp4,x,g1,anna,1\nb.mp4,y,g1,ben,2\n"
    source = manifest(tmp_path, text, "a.mp4", "b.mp4")
    dataset = read_classes(source, group="speaker", fold="part")
    assert [(s.group, s.fold) for s in dataset.samples] == [("anna", "1"), ("ben", "2")]
    assert read_classes(source).samples[0].group == "g1"
    message = refusal(source, group="speakr")
    assert "no column 'speakr'" in message and "did you mean 'speaker'?" in message


@pytest.mark.parametrize(
    "text", ["\ufeffpath,label\na.mp4,x\n", "path,label\r\na.mp4,x\r\n", "path,label\ra.mp4,x"]
)
def test_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path, text: str) -> None:
    assert found(read_classes(manifest(tmp_path, text, "a.mp4"))) == {"a.mp4": ("x",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path;label\na.mp4;x\n", "is separated by semicolons; save it with commas"),
        ('"path";"label";"start"\n"a.mp4";"x";"1,5"\n', "is separated by semicolons"),
        ("label\tpath\nx\ta.mp4\n", "is separated by tabs"),
        ("file,label\na.mp4,x\n", "has no column 'path'; found: file, label"),
        ("path,lable\na.mp4,x\n", "no column 'label'; found: path, lable; did you mean 'lable'?"),
        ("a.mp4,x\nb.mp4,y\n", "has no columns 'path' and 'label'; found: a.mp4, x"),
        ("path,label,label\n", "names a column twice"),
        ("path,label\n", "has no rows"),
        (" \n\n", "the manifest is empty"),
        (b"path,label\na.mp4,f\xfcr\n", "line 2 is not UTF-8"),
        ("path,label\n".encode("utf-16"), "is written in UTF-16; save it as UTF-8"),
        ('path,label\na.mp4,"x\nb.mp4,y\n', "is not readable as CSV: unexpected end of data"),
    ],
)
def test_a_csv_file_that_cannot_be_used_says_why(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    assert said in refusal(manifest(tmp_path, text, "a.mp4", "b.mp4"))


def test_other_files_are_no_manifests(tmp_path: Path) -> None:
    assert "reads .csv, .jsonl" in refusal(manifest(tmp_path, "x", name="clips.xlsx"))
    listed = manifest(tmp_path, '[{"path": "a.mp4"}]', name="c.jsonl")
    assert "holds a JSON list; write one JSON object per line" in refusal(listed)


def test_a_broken_json_line_costs_itself_alone(tmp_path: Path) -> None:
    good = '{"path": "a.mp4", "label": "x"}'
    text = "\n".join([good, '{"path": "b.mp4", "lab', "17", "[" * 100_000, '{"path": "a.mp4"}'])
    source = manifest(tmp_path, text, "a.mp4", name="m.jsonl")
    dataset = read_classes(source)
    assert found(dataset) == {"a.mp4": ("x",)}
    assert wrong(dataset) == [
        ("error", "json", "m.jsonl:2"),
        ("error", "json", "m.jsonl:3"),
        ("error", "json", "m.jsonl:4"),
        ("error", "unlabelled", "m.jsonl:5"),
    ]
    assert "line 2 is not readable as JSON" in dataset.problems[0].message
    message = refusal(manifest(tmp_path, "{oops}\n", name="n.jsonl"))
    assert "no columns 'path' and 'label'; found: none (n.jsonl:1: line 1 is not" in message


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ("gone.mp4,x,,,", "missing", "'gone.mp4': no such file"),
        ("a.mp4/b,x,,,", "missing", "no such file"),
        ("\0,x,,,", "missing", "no such file"),
        (",x,,,", "missing", "names no path"),
        ("sub,x,,,", "unreadable", "'sub': is a folder"),
        ("a.mp4,,,,", "unlabelled", "has no label"),
        ("a.mp4, | ,,,", "unlabelled", "has no label"),
        ("a.mp4,a/b,,,", "label_name", "its label 'a/b' reads as a path"),
        ("a.mp4,ok|..,,,", "label_name", "its label '..' reads as a path"),
        ("a.mp4,a\x1b[0m,,,", "label_name", "cannot be printed"),
        ("a.mp4,x,dev,,", "split", "its split 'dev' is none of train, val"),
        ("a.mp4,x,,one,", "times", "its start 'one' is not a number of seconds"),
        ("a.mp4,x,,nan,", "times", "its start 'nan' is no time in the file"),
        ("a.mp4,x,,,inf", "times", "its end 'inf' is no time"),
        ("a.mp4,x,,-1,", "times", "its start '-1' is no time"),
        ("a.mp4,x,,3,2", "times", "its end 2 is not after its start 3"),
        ("a.mp4,x,,,0", "times", "its end 0 is not after its start 0"),
        ("a.mp4,x,,,,,more", "cells", "has 7 cells under 5 columns"),
    ],
)
def test_a_row_that_cannot_be_used_is_listed_and_left_out(
    tmp_path: Path, row: str, kind: str, said: str
) -> None:
    head = "path,label,split,start,end\na.mp4,good,,,\n,,,,\n\n"
    dataset = read_classes(manifest(tmp_path, head + row + "\n", "a.mp4", "sub/b.mp4"))
    assert found(dataset) == {"a.mp4": ("good",)}
    (problem,) = (p for p in dataset.problems if p.kind != "one_sample")
    assert (problem.level, problem.kind, problem.where) == ("error", kind, "clips.csv:5")
    assert said in problem.message and problem.message.endswith("left out")


def test_wrong_types_in_json_are_listed(tmp_path: Path) -> None:
    rows = [
        {"path": "a.mp4", "label": 1},
        {"path": "a.mp4", "label": True},
        {"path": "a.mp4", "label": [1]},
        {"path": ["a.mp4"], "label": "x"},
        {"path": "a.mp4", "label": "x", "start": True},
        {"path": "a.mp4", "label": "x", "start": float("nan")},
        {"path": "a.mp4", "label": "x", "end": 10**400},
        {"path": "\ud800", "label": "x"},
    ]
    text = "\n".join(map(json.dumps, rows))
    dataset = read_classes(manifest(tmp_path, text, "a.mp4", name="m.jsonl"))
    assert found(dataset) == {"a.mp4": ("1",)}
    assert [kind for _, kind, _ in wrong(dataset)] == [
        "label",
        "label",
        "path",
        "times",
        "times",
        "times",
        "missing",
    ]


def test_where_nothing_is_left_the_reasons_are_told(tmp_path: Path) -> None:
    rows = "".join(f"gone{i}.mp4,x\n" for i in range(9))
    message = refusal(manifest(tmp_path, "path,label\n" + rows))
    assert "no sample can be used: clips.csv:2: 'gone0.mp4': no such file" in message
    assert message.endswith("(and 6 more)")


def test_the_users_own_paths_may_lead_anywhere(tmp_path: Path) -> None:
    text = f"path,label\n../v/a.mp4,x\n{tmp_path}/v/b.mp4,y\n"
    folder(tmp_path / "v", "a.mp4", "b.mp4")
    dataset = read_classes(manifest(tmp_path / "m", text))
    assert [s.path.resolve() for s in dataset.samples] == [
        tmp_path / "v/a.mp4",
        tmp_path / "v/b.mp4",
    ]
    assert list(found(dataset)) == ["../v/a.mp4", f"{tmp_path}/v/b.mp4"]


def test_a_repeated_row_counts_once(tmp_path: Path) -> None:
    text = "path,label,start\na.mp4,x,0\na.mp4,x,\n./a.mp4,x,0\na.mp4,y,0\na.mp4,x,1\n"
    dataset = read_classes(manifest(tmp_path, text, "a.mp4"))
    spans = [(s.labels, s.start_s) for s in dataset.samples]
    assert spans == [(("x",), 0.0), (("y",), 0.0), (("x",), 1.0)]
    assert wrong(dataset) == [
        ("warning", "duplicate", "clips.csv:3"),
        ("warning", "duplicate", "clips.csv:4"),
    ]
    assert dataset.problems[0].message == "repeats clips.csv:2: 'a.mp4'; left out"


def test_of_many_wrong_rows_the_first_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    rows = "".join(f"{i}.mp4,x,{'train' if i % 2 else 'test'}\n" for i in range(3000))
    text = "path,label,split\n" + rows + "a.mp4,x,train\n" * 2002
    dataset = read_classes(manifest(tmp_path, text, "a.mp4"))
    assert len(dataset.samples) == 1
    counted = [problem for problem in dataset.problems if problem.rows > 1]
    assert [(p.kind, p.where, p.rows) for p in counted] == [
        ("missing", "clips.csv:2002", 500),
        ("missing", "clips.csv:2003", 500),
        ("duplicate", "clips.csv:4003", 1001),
    ]
    assert counted[0].message == "'2000.mp4': no such file; left out (and 499 more like it)"
    assert sum(p.rows for p in dataset.problems if p.kind == "missing") == 3000
    for split, number in ((None, 3000), ("train", 1500), ("test", 1500)):
        assert sum(p.rows for p in samples_left_out(dataset, split)) == number
    with pytest.raises(DataError, match=r"no sample can be used: .* \(and 2997 more\)"):
        read_classes(manifest(tmp_path, "path,label,split\n" + rows, name="none.csv"))


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl"])
def test_many_rows_of_one_file_take_little_memory(tmp_path: Path, name: str) -> None:
    rows = (f"a.mp4,x{i % 3},g{i % 7},{i % 50}" for i in range(30_000))
    text = "path,label,group,start\n" + "\n".join(rows)
    if name.endswith("jsonl"):
        header, *lines = text.splitlines()
        cells = (zip(header.split(","), line.split(","), strict=True) for line in lines)
        text = "\n".join(json.dumps(dict(row)) for row in cells)
    source = manifest(tmp_path, text, "a.mp4", name=name)
    tracemalloc.start()
    try:
        dataset = read_classes(source)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset.samples) == 3 * 7 * 50
    assert most - 2 * len(text) < 5e6  # the text as bytes and as letters, and what is kept


def test_of_many_columns_a_few_are_named(tmp_path: Path) -> None:
    said = refusal(manifest(tmp_path, "path," + ",".join(f"c{i}" for i in range(50_000)) + "\n"))
    assert "has no column 'label'; found: path, c0, c1, " in said
    assert "c98 and 49901 more" in said and len(said) < 1500


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6), st.sampled_from("ab")), max_size=12)
)
def test_actions_that_share_time_are_counted(spans: list[tuple[int, int, str]]) -> None:
    segments = sorted({Segment(start, start + length, label) for start, length, label in spans})
    sharing = [
        one
        for one in segments
        if any(o is not one and o.start_s < one.end_s and one.start_s < o.end_s for o in segments)
    ]
    assert sharing_time(segments) == len(sharing)


def test_labels_that_look_alike_are_warned_of(tmp_path: Path) -> None:
    text = "path,label\na.mp4,Fight\nb.mp4,fight\nc.mp4,no fight\nd.mp4,nofight\ne.mp4,calm\n"
    dataset = read_classes(manifest(tmp_path, text, *(f"{c}.mp4" for c in "abcde")))
    assert wrong(dataset) == [
        ("warning", "label_case", "Fight"),
        ("warning", "label_case", "no fight"),
    ]
    assert dataset.problems[0].message.startswith("differs from 'fight' only in case or spaces")
    assert dataset.labels == ("Fight", "calm", "fight", "no fight", "nofight")


def test_labels_of_another_kind_of_characters_are_warned_of_as_such(tmp_path: Path) -> None:
    text = "path,label\na.mp4,\uff46ight\nb.mp4,fight\n"
    dataset = read_classes(manifest(tmp_path, text, "a.mp4", "b.mp4"))
    assert wrong(dataset) == [("warning", "label_case", "fight")]
    assert "only in the kind of its characters" in dataset.problems[0].message


COMPOSED, APART = (unicodedata.normalize(form, "\u00e9t\u00e9") for form in ("NFC", "NFD"))


def test_labels_have_their_accents_composed(tmp_path: Path) -> None:
    text = f"path,label,group\na.mp4,{COMPOSED},{APART}\nb.mp4,{APART}|x,{COMPOSED}\n"
    dataset = read_classes(manifest(tmp_path, text, "a.mp4", "b.mp4"))
    assert dataset.labels == ("x", COMPOSED)
    assert {sample.group for sample in dataset.samples} == {COMPOSED}
    assert wrong(dataset) == [("warning", "label_form", COMPOSED)]
    assert "composed and decomposed; all count as one label" in str(dataset.problems[0])
    apart = read_classes(manifest(tmp_path, f"path,label\na.mp4,{APART}\n", "a.mp4"))
    assert (apart.labels, wrong(apart)) == ((COMPOSED,), [])


def test_names_of_columns_have_their_accents_composed(tmp_path: Path) -> None:
    files = ("a.mp4", "b.mp4")
    for there, asked in ((COMPOSED, APART), (APART, COMPOSED)):
        text = f"path,label,{there}\na.mp4,x,one\nb.mp4,y,two\n"
        dataset = read_classes(manifest(tmp_path, text, *files), group=asked)
        assert {sample.group for sample in dataset.samples} == {"one", "two"}


def test_class_folders_have_their_accents_composed(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", f"{COMPOSED}/1.mp4", f"{APART}/2.mp4", f"{APART} /3.mp4")
    dataset = read_classes(source)
    assert dataset.labels == (COMPOSED,)
    assert len(dataset.samples) == 3
    assert all(sample.path.is_file() for sample in dataset.samples)
    assert sorted(wrong(dataset)) == [
        ("warning", "label_form", COMPOSED),
        ("warning", "label_spaces", COMPOSED),
    ]


def test_files_are_found_however_their_accents_are_stored(tmp_path: Path) -> None:
    text = f"path,label\n{COMPOSED}.mp4,x\n{APART}/{COMPOSED}.mp4,y\n"
    source = manifest(tmp_path, text, f"{APART}.mp4", f"{COMPOSED}/{APART}.mp4")
    dataset = read_classes(source)
    assert [sample.name for sample in dataset.samples] == [
        *(f"{COMPOSED}.mp4", f"{APART}/{COMPOSED}.mp4")
    ]
    assert [sample.path for sample in dataset.samples] == [
        *(tmp_path / f"{APART}.mp4", tmp_path / COMPOSED / f"{APART}.mp4")
    ]
    assert wrong(dataset) == []


def test_spaces_around_a_label_are_dropped_and_warned_of(tmp_path: Path) -> None:
    text = 'path,label\na.mp4,"fight "\nb.mp4,fight\n'
    dataset = read_classes(manifest(tmp_path, text, "a.mp4", "b.mp4"))
    assert dataset.labels == ("fight",)
    assert wrong(dataset) == [("warning", "label_spaces", "fight")]


def test_the_empty_group_is_a_group_per_file(tmp_path: Path) -> None:
    text = "path,label,group\na.mp4,x,g\nb.mp4,x,\nc.mp4,x, \n"
    dataset = read_classes(manifest(tmp_path, text, "a.mp4", "b.mp4", "c.mp4"))
    assert dataset.has_groups and [s.group for s in dataset.samples] == ["g", None, None]
    assert wrong(dataset) == [("warning", "no_group", "b.mp4")]
    none = manifest(tmp_path, "path,label,group\na.mp4,x,\nb.mp4,x,\n", name="none.csv")
    assert not read_classes(none).has_groups and not read_classes(none).problems


def test_labels_and_groups_are_checked_over_the_splits(tmp_path: Path) -> None:
    text = (
        "path,label,split,group\na.mp4,x,train,g\nb.mp4,x,test,g\nc.mp4,y,test,h\nd.mp4,y,val,i\n"
    )
    dataset = read_classes(manifest(tmp_path, text, *(f"{c}.mp4" for c in "abcd")))
    assert wrong(dataset) == [
        ("error", "unseen_in_train", "y"),
        ("error", "group_across_splits", "g"),
    ]
    assert "this group is in train and test" in dataset.problems[1].message


def test_a_label_of_one_sample_is_warned_of(tmp_path: Path) -> None:
    dataset = read_classes(folder(tmp_path / "d", "a/1.mp4", "b/1.mp4", "b/2.mp4"))
    assert kinds(dataset.problems) == [("warning", "one_sample", "a")]


def test_a_sample_is_checked_when_it_is_made(tmp_path: Path) -> None:
    good = Sample(tmp_path, "a", ("x",), None, None, None)
    for wrong_labels in ((), ("b", "a"), ("a", "a")):
        with pytest.raises(ValueError, match="labels"):
            replace(good, labels=wrong_labels)
    for start_s, end_s in ((-1.0, None), (2.0, 1.0), (float("nan"), None), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="span"):
            replace(good, start_s=start_s, end_s=end_s)


# --- inspection ---------------------------------------------------------------------------------


def looked_into(source: Path, jobs: int = 2) -> Inspection:
    return inspect(read_classes(source), jobs=jobs, max_pixels=DEFAULT_MAX_PIXELS)


def small(render_clip: Render, name: str, frames: int = 10) -> Path:
    return render_clip(name, frames=frames, width=64, height=48)


def test_what_cannot_be_read_is_listed_and_left_out(tmp_path: Path, render_clip: Render) -> None:
    good = small(render_clip, "d/a/good.mp4", frames=50)
    content = good.read_bytes()
    touch(tmp_path / "d/b/cut.mp4", content[: len(content) // 2])  # its index was at the end
    touch(tmp_path / "d/b/empty.mp4", b"")
    touch(tmp_path / "d/b/list.mp4", b"#EXTM3U\nother.mp4\n")
    small(render_clip, "d/c/other.mp4", frames=25)
    steps: list[tuple[int, int]] = []
    inspection = inspect(
        read_classes(tmp_path / "d"),
        jobs=2,
        max_pixels=DEFAULT_MAX_PIXELS,
        on_progress=lambda standing: steps.append((standing.done, standing.total)),
    )
    dataset = inspection.dataset
    assert found(dataset) == {"a/good.mp4": ("a",), "c/other.mp4": ("c",)}
    assert dataset.labels == ("a", "c")
    assert sorted(wrong(dataset)) == [
        ("error", "label_lost", "b"),
        ("error", "refused", "b/list.mp4"),
        ("error", "unreadable", "b/cut.mp4"),
        ("error", "unreadable", "b/empty.mp4"),
    ]
    assert inspection.durations == pytest.approx(
        {tmp_path / "d/a/good.mp4": 2.0, tmp_path / "d/c/other.mp4": 1.0}, abs=0.01
    )
    assert inspection.contents.keys() == inspection.durations.keys()
    assert steps == sorted(steps)
    assert steps[-1] == (5, 5)


def test_all_files_unreadable_is_an_error_with_reasons(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", "a/1.mp4", "b/2.mp4")
    with pytest.raises(DataError, match=r"no sample can be used: [ab]/\d.mp4: .*left out"):
        looked_into(source)


def test_spans_are_held_against_the_duration(tmp_path: Path, render_clip: Render) -> None:
    small(render_clip, "a.mp4", frames=50)
    text = (
        "path,label,start,end\na.mp4,x,0,2\na.mp4,y,1,2.05\na.mp4,x,1,9\na.mp4,y,2,\na.mp4,x,7,8\n"
    )
    dataset = looked_into(manifest(tmp_path, text)).dataset
    spans = [(s.start_s, s.end_s) for s in dataset.samples]
    assert spans == [(0.0, 2.0), (1.0, 2.05), (1.0, None)]
    said = [p.message for p in dataset.problems if p.kind == "times"]
    assert said == [
        "ends at 9 s, but the file at 2.00 s; cut there",
        "starts at 2 s, but the file ends at 2.00 s; left out",
        "starts at 7 s, but the file ends at 2.00 s; left out",
    ]


def test_equal_content_is_told(tmp_path: Path, render_clip: Render) -> None:
    first, other = small(render_clip, "1.mp4"), small(render_clip, "2.mp4", frames=20)
    for name in ("train/a/1.mp4", "test/a/copy.mp4", "train/a/again.mp4"):
        touch(tmp_path / "d" / name, first.read_bytes())
    for name in ("train/a/3.mp4", "train/b/4.mp4"):
        touch(tmp_path / "d" / name, other.read_bytes())
    dataset = looked_into(tmp_path / "d").dataset
    assert len(dataset.samples) == 5  # nothing is left out for it
    assert sorted(wrong(dataset)) == [
        ("error", "across_splits", "test/a/copy.mp4"),
        ("error", "two_labels", "train/a/3.mp4"),
        ("warning", "duplicate", "test/a/copy.mp4"),
    ]
    (across,) = (p for p in dataset.problems if p.kind == "across_splits")
    assert "train/a/1.mp4 in train" in across.message and "copy.mp4 in test" in across.message


def test_sound_alone_is_enough_and_neither_is_not(
    tmp_path: Path, vmm_data: Path, render_clip: Render
) -> None:
    sound = vmm_data / "voices/clips/03a01Fa.flac"
    shutil.copy(sound, tmp_path / "s.flac")
    small(render_clip, "v.mp4")
    text = "path,label\ns.flac,x\nv.mp4,y\n"
    inspection = looked_into(manifest(tmp_path, text))
    assert list(found(inspection.dataset)) == ["s.flac", "v.mp4"]
    assert not [p for p in inspection.dataset.problems if p.kind != "one_sample"]


def test_the_summary_is_plain_json(tmp_path: Path, render_clip: Render) -> None:
    small(render_clip, "a.mp4", frames=25)
    small(render_clip, "b.mp4", frames=50)
    text = (
        "path,label,split,group,fold,start,end\n"
        "a.mp4,x,train,g,0,,\nb.mp4,x,val,h,1,0,0.5\nb.mp4,y,,h,1,0.5,\n"
    )
    told = summary(looked_into(manifest(tmp_path, text)))
    assert json.loads(json.dumps(told)) == told
    assert told["schema"] == "vmm.dataset/1" and told["data"] == str(tmp_path / "clips.csv")
    assert (told["n"], told["files"], told["multi_label"]) == (3, 2, False)
    assert told["labels"] == {"x": {"n": 2, "train": 1, "val": 1}, "y": {"n": 1, "none": 1}}
    assert told["splits"] == {"n": 3, "train": 1, "val": 1, "none": 1}
    assert told["balance"] == {
        "majority": "x",
        "majority_share": pytest.approx(2 / 3),
        "largest_to_smallest": 2.0,
    }
    assert told["durations_s"] == {
        "min": pytest.approx(0.5),
        "median": pytest.approx(1.0, abs=0.01),
        "max": pytest.approx(1.5, abs=0.01),
        "total": pytest.approx(3.0, abs=0.02),
        "unknown": 0,
    }
    assert told["groups"] == {"n": 2, "smallest": 1, "largest": 2}
    assert told["folds"] == {"0": 1, "1": 2}
    assert told["problems"][0].keys() == {"level", "kind", "where", "message"}


def test_real_manifests_are_read_whole(vmm_data: Path) -> None:
    fights = read_classes(vmm_data / "fights/clips.csv")
    assert Counter(s.labels for s in fights.samples) == {("fight",): 130, ("no_fight",): 90}
    assert not fights.problems and fights.has_groups and fights.has_folds
    voices = read_classes(vmm_data / "voices/clips.csv")
    assert (len(voices.samples), len(voices.labels)) == (408, 7) and not voices.problems


@pytest.mark.slow
def test_real_clips_are_inspected(vmm_data: Path) -> None:
    inspection = looked_into(vmm_data / "fights/clips.csv")
    assert not inspection.dataset.problems
    durations = summary(inspection)["durations_s"]
    assert durations["unknown"] == 0 and 1 < durations["min"] < durations["max"] < 5


# --- validation ---------------------------------------------------------------------------------


def sample(
    number: int,
    *labels: str,
    group: str | None = None,
    split: str | None = None,
    file: str | None = None,
) -> Sample:
    name = file or f"{number}.mp4"
    place = {"train": "train", "val": "val", "test": "test", None: None}[split]
    return Sample(Path(name), name, tuple(sorted(set(labels))), place, group, None)


def of(samples: Iterable[Sample]) -> DataSet:
    return make_dataset(Path("d"), samples, kind=CLASSES, multi_label=False, problems=())


def in_split(dataset: DataSet, split: str) -> list[Sample]:
    return [s for s in dataset.samples if s.split == split]


def test_a_fifth_of_each_label_becomes_validation() -> None:
    dataset = of(
        [sample(i, "a") for i in range(50)]
        + [sample(50 + i, "b") for i in range(20)]
        + [sample(70 + i, "c") for i in range(5)]
    )
    divided = with_validation(dataset, seed=0)
    assert Counter(s.labels[0] for s in in_split(divided, "val")) == {"a": 10, "b": 4, "c": 1}
    assert all(s.split in ("train", "val") for s in divided.samples)
    assert with_validation(dataset, seed=0) == divided
    assert with_validation(dataset, seed=1) != divided


def test_rare_labels_are_not_all_rounded_to_nothing() -> None:
    dataset = of(sample(2 * i + j, f"label{i}") for i in range(10) for j in range(2))
    assert len(in_split(with_validation(dataset, seed=3), "val")) == 4


def test_two_groups_of_each_label_give_one_each_for_validation() -> None:
    dataset = of(
        sample(i, label, group=f"{label}{i % 2}") for label in ("a", "b") for i in range(10)
    )
    assert {s.labels[0] for s in in_split(with_validation(dataset, seed=0), "val")} == {"a", "b"}


def test_the_validation_the_user_made_stays() -> None:
    given_splits = ["train", "val", "test", "train", None, None]
    dataset = of(
        sample(i, "ab"[i % 2], split=split, group="g" if i in (1, 5) else None)
        for i, split in enumerate(given_splits)
    )
    divided = with_validation(dataset, seed=0)
    # What has no split follows its group, else it is trained on.
    assert [s.split for s in divided.samples] == ["train", "val", "test", "train", "train", "val"]


def test_spans_of_a_file_and_equal_content_stay_together() -> None:
    spans = [
        replace(sample(0, "ab"[i % 2], file=f"f{i // 4}.mp4"), start_s=float(i)) for i in range(40)
    ]
    contents = {Path(f"f{i}.mp4"): f"content{i // 2}" for i in range(10)}
    divided = with_validation(of(spans), seed=0, contents=contents)
    places = {}
    for one in divided.samples:
        assert places.setdefault(contents[one.path], one.split) == one.split
    assert len(in_split(divided, "val")) == 8


def test_real_groups_are_divided_well(vmm_data: Path) -> None:
    dataset = read_classes(vmm_data / "fights/clips.csv")
    for seed in range(10):
        val = in_split(with_validation(dataset, seed=seed), "val")
        assert 0.17 < len(val) / 220 < 0.25
        fights = sum(s.labels == ("fight",) for s in val)
        assert 0.15 < fights / 130 < 0.28 and 0.15 < (len(val) - fights) / 90 < 0.28


@st.composite
def data_sets(draw: st.DrawFn) -> DataSet:
    names = st.sampled_from(["a", "b", "c", "d"])
    rows = draw(
        st.lists(
            st.tuples(
                st.sets(names, min_size=1, max_size=2),
                st.one_of(st.none(), st.integers(0, 12)),
                st.sampled_from(
                    draw(st.sampled_from([[None], [None, "test"], ["train", "test", None]]))
                ),
            ),
            min_size=1,
            max_size=60,
        )
    )
    # A group is in test as a whole, as honest users have it.
    homes: dict[int, str | None] = {}
    return of(
        sample(
            i,
            *labels,
            group=None if group is None else f"g{group}",
            split=split if group is None else homes.setdefault(group, split),
        )
        for i, (labels, group, split) in enumerate(rows)
    )


@settings(max_examples=200)
@given(data_sets(), st.integers(0, 1000))
def test_validation_never_breaks_its_promises(dataset: DataSet, seed: int) -> None:
    divided = with_validation(dataset, seed=seed)
    assert [replace(s, split=None) for s in divided.samples] == [
        replace(s, split=None) for s in dataset.samples
    ]
    assert all(s.split in SPLITS for s in divided.samples)
    # The test set is what it was.
    test = [i for i, s in enumerate(dataset.samples) if s.split == "test"]
    assert [i for i, s in enumerate(divided.samples) if s.split == "test"] == test
    # No group is on both sides.
    sides: dict[str, str | None] = {}
    for one in divided.samples:
        assert sides.setdefault(one.group or one.name, one.split) == one.split
    # Every label that could be learnt from can be.
    pool = [s for s in dataset.samples if s.split != "test"]
    trained = {label for s in in_split(divided, "train") for label in s.labels}
    assert trained == {label for s in pool for label in s.labels}
    # The order of the rows changes nothing.
    backwards = with_validation(replace(dataset, samples=dataset.samples[::-1]), seed=seed)
    assert backwards.samples[::-1] == divided.samples


@settings(max_examples=100)
@given(st.lists(st.integers(5, 80), min_size=2, max_size=5), st.integers(0, 1000))
def test_without_groups_the_fraction_is_met(counts: list[int], seed: int) -> None:
    numbers = iter(range(1000))
    dataset = of(
        sample(next(numbers), f"l{i}") for i, count in enumerate(counts) for _ in range(count)
    )
    val = Counter(s.labels[0] for s in in_split(with_validation(dataset, seed=seed), "val"))
    for i, count in enumerate(counts):
        assert abs(val[f"l{i}"] - 0.2 * count) <= 1
    assert abs(val.total() - 0.2 * sum(counts)) <= max(1, 0.5 * len(counts))


def test_a_fraction_is_one() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        with_validation(of([sample(0, "a")]), seed=0, fraction=0.0)


# --- before training ----------------------------------------------------------------------------


def problem_of(*samples: Sample) -> str:
    with pytest.raises(DataError) as refused:
        check_for_training(of(samples))
    return str(refused.value)


def test_what_cannot_be_trained_on_is_refused() -> None:
    train_a, train_b = sample(0, "a", split="train"), sample(1, "b", split="train")
    val_a, val_c = sample(2, "a", split="val"), sample(3, "c", split="val")
    check_for_training(of([train_a, train_b, val_a]))
    assert "needs two labels or more; there is 'a'" in problem_of(train_a, val_a)
    assert "no sample is left for validation" in problem_of(train_a, train_b)
    assert "no sample is in train" in problem_of(val_a, val_c)
    assert "no sample in train has the label 'c'" in problem_of(train_a, train_b, val_c)
    both = problem_of(train_a, replace(train_a, name="x"))
    assert "two labels" in both and "validation" in both


def test_one_class_only_is_refused_from_a_folder(tmp_path: Path) -> None:
    source = folder(tmp_path / "d", *(f"only/{i}.mp4" for i in range(10)))
    with pytest.raises(DataError, match="two labels or more; there is 'only'"):
        check_for_training(with_validation(read_classes(source), seed=0))
