"""Videos in which all is as usual, as they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmm_cli.errors import DataError
from vmm_cli.training.data.read_normal import is_unusual, read_normal
from vmm_cli.training.data.splits import check_for_training, with_validation


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"looked at later")
    return folder


def test_all_in_a_folder_is_usual(tmp_path: Path) -> None:
    data = read_normal(files(tmp_path, "a.mp4", "b.mkv", "notes.txt"))
    assert [sample.name for sample in data.samples] == ["a.mp4", "b.mkv"]
    assert all(sample.segments == () and not sample.labels for sample in data.samples)
    assert data.labels == () and not data.has_groups and not data.problems


def test_folders_inside_are_groups_and_that_is_said(tmp_path: Path) -> None:
    data = read_normal(files(tmp_path, "east/a.mp4", "east/late/b.mp4", "west/c.mp4"))
    assert [sample.group for sample in data.samples] == ["east", "east", "west"]
    (problem,) = data.problems
    assert problem.level == "warning" and "groups" in problem.message
    assert "not as labels" in problem.message


def test_splits_above(tmp_path: Path) -> None:
    data = read_normal(files(tmp_path, "train/a.mp4", "val/b.mp4", "test/c/d.mp4"))
    assert {s.name: s.split for s in data.samples} == {
        "train/a.mp4": "train",
        "val/b.mp4": "val",
        "test/c/d.mp4": "test",
    }


def test_folders_of_labels_measure_and_are_not_trained_on(tmp_path: Path) -> None:
    data = read_normal(files(tmp_path, "normal/a.mp4", "normal/b.mp4", "brawl/c.mp4"))
    assert [is_unusual(sample) for sample in data.samples] == [True, False, False]
    with pytest.raises(DataError, match="needs no labels: name the folder normal alone"):
        check_for_training(with_validation(data, seed=0))


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_manifest_needs_no_labels(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "b.mp4")
    data = read_normal(manifest(tmp_path, "path,group,start,end", "a.mp4,x,1,4", "b.mp4,y,,"))
    first, second = data.samples
    assert (first.start_s, first.end_s, first.group) == (1.0, 4.0, "x")
    assert first.segments == second.segments == ()


def test_rows_that_are_not_normal_are_unusual_throughout(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = ("path,label,split", "a.mp4,Normal,train", "b.mp4,fight,test", "c.mp4,,train")
    data = read_normal(manifest(tmp_path, *rows))
    assert [is_unusual(sample) for sample in data.samples] == [False, True, False]


def test_labels_none_of_which_is_normal_are_refused(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "b.mp4")
    rows = manifest(tmp_path, "path,label", "a.mp4,fight", "b.mp4,no_fight")
    with pytest.raises(DataError, match="has labels, and none is 'normal'"):
        read_normal(rows)


def test_a_table_of_times_says_when_it_is_unusual(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "b.mp4")
    rows = ("path,start,end,label", "a.mp4,1,2,fall", "a.mp4,1,2,cry", "b.mp4,,,")
    first, second = read_normal(manifest(tmp_path, *rows)).samples
    assert [(s.start_s, s.end_s, s.label) for s in first.segments or ()] == [(1, 2, "unusual")]
    assert second.segments == ()


def test_annotations_of_activitynet(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4")
    entry = {"file": "a.mp4", "annotations": [{"label": "fall", "segment": [1, 2]}]}
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"database": {"one": entry}}))
    (sample,) = read_normal(path).samples
    assert sample.labels == ("unusual",) and not is_unusual(sample)


def test_a_folder_without_any_video(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no video and no sound"):
        read_normal(files(tmp_path, "notes.txt"))
    with pytest.raises(DataError, match="no such file"):
        read_normal(tmp_path / "not_there")
