"""Negatives: read, named apart, divided, and held against what has labels."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.squares import squares_clip
from vmm_cli.errors import DataError, OptionError
from vmm_cli.training.data.inspection import inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_negatives import require_some
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import NONE, DataSet, Sample, with_samples
from vmm_cli.training.data.splits import (
    check_for_training,
    with_folds_of_negatives,
    with_validation,
    without_folds,
)
from vmm_cli.training.request import data_with_negatives

CALM = 7


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    """Six clips of two labels with folds; nothing looks into the files."""
    rows = ["path,label,group,fold"]
    for i in range(6):
        (tmp_path / f"{i}.mp4").touch()
        rows.append(f"{i}.mp4,{'ab'[i % 2]},g{i // 2},{i // 2}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return read_classes(tmp_path / "clips.csv")


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    folder = tmp_path / "calm"
    (folder / "inner").mkdir(parents=True)
    for i in range(CALM):
        (folder / ("inner" if i % 2 else ".") / f"{i}.mp4").touch()
    (folder / "notes.txt").touch()
    return folder


def annotated(folder: Path, *rows: str) -> DataSet:
    (folder / "events.csv").write_text("\n".join(["path,start,end,label", *rows]) + "\n")
    return read_segments(folder / "events.csv")


def kinds(data: DataSet) -> list[str]:
    return [problem.kind for problem in data.problems]


# --- reading --------------------------------------------------------------------------------------


def test_all_videos_of_a_folder_are_negatives(data: DataSet, calm: Path) -> None:
    found = data_with_negatives(data, [calm])
    negatives = [sample for sample in found.samples if sample.negative]
    assert len(negatives) == CALM and found.samples[:6] == data.samples
    assert {sample.labels for sample in negatives} == {(NONE,)}
    assert found.labels == ("a", "b", NONE)
    assert negatives[0].name == str(calm / "0.mp4")
    assert "no_group" not in kinds(found), "each of them is one of its own, as everybody knows"


def test_of_segments_a_negative_has_no_action(data: DataSet, calm: Path, tmp_path: Path) -> None:
    events = annotated(tmp_path, "0.mp4,1,2,falls")
    found = data_with_negatives(events, [calm / "0.mp4"])
    (negative,) = (sample for sample in found.samples if sample.negative)
    assert negative.segments == () and negative.labels == ()
    assert found.labels == ("falls",)


def test_a_manifest_names_parts_groups_and_folds(data: DataSet, calm: Path) -> None:
    manifest = calm / "calm.csv"
    manifest.write_text("path,start,end,group,fold\n0.mp4,1,2,x,1\n0.mp4,3,4,x,1\n2.mp4,,,y,9\n")
    found = data_with_negatives(data, [manifest])
    first, second = (sample for sample in found.samples if sample.negative)
    assert (first.start_s, first.end_s, first.group, first.fold) == (1, 2, "x", "1")
    assert (second.start_s, second.name) == (3, str(calm / "0.mp4"))
    (problem,) = (problem for problem in found.problems if problem.kind == "fold")
    assert "'9' is none of those of the data" in problem.message


def test_for_segments_a_part_of_a_video_is_no_negative(
    data: DataSet, calm: Path, tmp_path: Path
) -> None:
    manifest = calm / "calm.csv"
    manifest.write_text("path,start,end\n0.mp4,1,2\n2.mp4,,\n")
    found = data_with_negatives(annotated(tmp_path, "0.mp4,1,2,falls"), [manifest])
    assert sum(sample.negative for sample in found.samples) == 1
    assert any("a whole video is a negative" in p.message for p in found.problems)


def test_a_row_that_has_a_label_to_be_learnt_is_no_negative(data: DataSet, calm: Path) -> None:
    manifest = calm / "calm.csv"
    manifest.write_text("path,label\n0.mp4,a\n2.mp4,street\n")
    found = data_with_negatives(data, [manifest])
    assert [s.path.name for s in found.samples if s.negative] == ["2.mp4"]
    assert any("'a' is one to be learnt" in problem.message for problem in found.problems)
    assert "other_labels" in kinds(found), "that 'street' says nothing is said"


def test_the_same_file_twice_is_one_negative(data: DataSet, calm: Path) -> None:
    (calm / "again.mp4").symlink_to(calm / "0.mp4")
    found = data_with_negatives(data, [calm, calm / "2.mp4"])
    assert sum(sample.negative for sample in found.samples) == CALM
    assert kinds(found).count("duplicate") == 2


def test_two_files_of_one_name_are_told_apart(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "0.mp4").touch()
    monkeypatch.chdir(other)
    found = data_with_negatives(data, [Path("0.mp4")])
    assert [s.name for s in found.samples if s.negative] == [str(other / "0.mp4")]


def test_sources_without_negatives_are_refused(data: DataSet, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no video and no sound to take as negatives"):
        data_with_negatives(data, [empty])
    with pytest.raises(DataError, match=r"no such file; give a folder, a file or a manifest"):
        data_with_negatives(data, [tmp_path / "gone"])
    (tmp_path / "none.csv").write_text("path\ngone.mp4\n")
    with pytest.raises(DataError, match=r"no sample can be used: none\.csv:2"):
        data_with_negatives(data, [tmp_path / "none.csv"])


def test_a_model_that_says_something_of_any_video_has_no_negatives(
    data: DataSet, calm: Path
) -> None:
    from vmm_cli.training.data.read_valence import VALENCE

    with pytest.raises(OptionError, match="is of no use for task valence"):
        data_with_negatives(replace(data, kind=VALENCE), [calm])


# --- the label ------------------------------------------------------------------------------------


def test_a_row_can_say_that_it_is_a_negative(data: DataSet, tmp_path: Path) -> None:
    rows = f"path,label\n0.mp4,a\n1.mp4,b\n2.mp4,{NONE}\n3.mp4,a|{NONE}\n"
    (tmp_path / "rows.csv").write_text(rows)
    found = read_classes(tmp_path / "rows.csv")
    assert [sample.negative for sample in found.samples] == [False, False, True]
    assert not found.multi_label
    (problem,) = found.problems[:1]
    assert "contradicts itself" in problem.message and problem.level == "error"


def test_one_label_and_negatives_can_be_learnt(data: DataSet, calm: Path) -> None:
    alone = with_samples(data, [s for s in data.samples if s.labels == ("a",)])
    with pytest.raises(DataError, match="two labels or more"):
        check_for_training(with_validation(alone, seed=0))
    check_for_training(with_validation(data_with_negatives(alone, [calm]), seed=0))


def test_an_annotation_file_can_say_that_a_video_is_a_negative(
    data: DataSet, tmp_path: Path
) -> None:
    found = annotated(tmp_path, "0.mp4,1,2,falls", f"1.mp4,,,{NONE}", "2.mp4,,,")
    assert [sample.negative for sample in found.samples] == [False, True, False]


def test_a_video_that_something_and_nothing_happens_in_is_left_out(
    data: DataSet, tmp_path: Path
) -> None:
    found = annotated(
        tmp_path, "0.mp4,1,2,falls", f"0.mp4,,,{NONE}", "1.mp4,1,2,falls", f"1.mp4,3,4,{NONE}"
    )
    assert [sample.name for sample in found.samples] == ["1.mp4"]
    told = {problem.kind: problem.message for problem in found.problems}
    assert "events.csv:2 says what happens in it" in told["contradiction"]
    assert "is said of whole videos" in told["times"]


# --- equal content --------------------------------------------------------------------------------


def test_a_negative_whose_content_has_a_label_is_left_out(tmp_path: Path) -> None:
    for i, kind in enumerate(("moving", "still", "moving")):
        squares_clip(tmp_path / f"{i}.mp4", kind, seed=i, seconds=0.4)
    (tmp_path / "calm").mkdir()
    shutil.copy(tmp_path / "0.mp4", tmp_path / "calm" / "copy.mp4")
    shutil.copy(tmp_path / "2.mp4", tmp_path / "calm" / "own.mp4")
    (tmp_path / "calm" / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "clips.csv").write_text("path,label\n0.mp4,a\n1.mp4,b\n")
    whole = data_with_negatives(read_classes(tmp_path / "clips.csv"), [tmp_path / "calm"])
    found = inspect(whole, jobs=1, max_pixels=10**7)
    assert [s.path.name for s in found.dataset.samples if s.negative] == ["own.mp4"]
    told = {problem.kind: problem for problem in found.dataset.problems}
    assert "as 0.mp4 (a); the negative is left out" in told["labelled_negative"].message
    assert told["labelled_negative"].where.endswith("copy.mp4")
    (tmp_path / "calm" / "own.mp4").unlink()
    again = data_with_negatives(read_classes(tmp_path / "clips.csv"), [tmp_path / "calm"])
    with pytest.raises(DataError, match="no negative can be used"):
        require_some(inspect(again, jobs=1, max_pixels=10**7).dataset, [tmp_path / "calm"])


# --- division -------------------------------------------------------------------------------------


def splits_of(data: DataSet) -> dict[str, str | None]:
    return {sample.name: sample.split for sample in data.samples}


def test_negatives_change_nothing_of_how_the_others_are_divided(data: DataSet, calm: Path) -> None:
    whole = data_with_negatives(data, [calm])
    for seed in range(5):
        before = splits_of(with_validation(data, seed=seed))
        after = splits_of(with_validation(whole, seed=seed))
        assert {name: after[name] for name in before} == before
        held_out = [s for s in with_validation(whole, seed=seed).samples if s.split == "val"]
        assert 1 <= sum(sample.negative for sample in held_out) <= 2, "a fifth of seven"


def test_a_validation_of_the_user_s_own_gets_negatives_too(data: DataSet, calm: Path) -> None:
    samples = [replace(s, split="val" if s.group == "g0" else "train") for s in data.samples]
    whole = data_with_negatives(with_samples(data, samples), [calm])
    divided = with_validation(whole, seed=0).samples
    assert {s.group for s in divided if s.split == "val" and not s.negative} == {"g0"}
    assert any(sample.negative and sample.split == "val" for sample in divided)


def test_each_fold_leaves_out_negatives_that_it_never_saw(data: DataSet, calm: Path) -> None:
    found = data_with_negatives(data, [calm])
    durations = {sample.path: 60.0 for sample in found.samples}
    whole = with_folds_of_negatives(found, {}, durations)
    sizes = Counter(sample.fold for sample in whole.samples if sample.negative)
    assert sorted(sizes.values()) == [2, 2, 3]
    for fold, divided in without_folds(whole, seed=0, contents={}, stops_early=False).items():
        test = {s.path for s in divided.samples if s.split == "test" and s.negative}
        learnt = {s.path for s in divided.samples if s.split == "train" and s.negative}
        assert test and learnt and not test & learnt, fold


def test_a_negative_of_a_group_goes_where_the_group_is(data: DataSet, calm: Path) -> None:
    found = data_with_negatives(data, [calm])
    samples = [replace(s, group="g1") if s.path.name == "6.mp4" else s for s in found.samples]
    whole = with_folds_of_negatives(with_samples(found, samples), {}, {})
    (moved,) = (s for s in whole.samples if s.negative and s.group == "g1")
    assert moved.fold == "1"


def test_one_negative_cannot_be_left_out_and_learnt(data: DataSet, calm: Path) -> None:
    found = with_folds_of_negatives(data_with_negatives(data, [calm / "0.mp4"]), {}, {})
    with pytest.raises(DataError, match="give negatives of two files or groups, or more"):
        without_folds(found, seed=0, contents={})


def test_a_negative_with_labels_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="a negative has no labels"):
        Sample(Path("a"), "a", ("fight",), None, None, None, negative=True)
