"""Reading, looking into and dividing data sets for valence; what is wrong is told."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.squares import squares_clip
from vmm_cli.errors import DataError
from vmm_cli.training.data.inspection import Inspection, inspect
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.read_valence import VALENCE, read_valence
from vmm_cli.training.data.samples import DataSet, Sample, make_dataset
from vmm_cli.training.data.splits import check_for_training, with_validation
from vmm_cli.training.summary import summary


def manifest(folder: Path, text: str, name: str = "clips.csv") -> Path:
    for i in range(9):
        (folder / f"{i}.mp4").write_bytes(b"x")
    (folder / name).write_text(text)
    return folder / name


def refusal(source: Path, read=read_valence, **columns: str) -> str:
    with pytest.raises(DataError) as refused:
        read(source, **columns)
    return str(refused.value)


# --- reading ------------------------------------------------------------------------------------


def test_emotions_have_their_accents_composed(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "g\u00eane") for form in ("NFC", "NFD"))
    source = manifest(tmp_path, f"path,emotion\n0.mp4,{composed}\n1.mp4,{apart}\n")
    assert read_valence(source).labels == (composed,)


def test_valence_and_emotion_are_read_and_either_may_be_missing(tmp_path: Path) -> None:
    source = manifest(
        tmp_path,
        "Path, Valence ,emotion,group,start,end,text,speaker\n"
        "0.mp4,0.5,joy,g,1,2.5,hello,s1\n"
        "1.mp4,-1,,,,,,s2\n"
        "2.mp4,,anger\n"
        "3.mp4,+1e0,joy\n",
    )
    dataset = read_valence(source)
    assert dataset.task == "valence" and not dataset.multi_label
    assert dataset.labels == ("anger", "joy")
    said = [(s.name, s.valence, s.labels) for s in dataset.samples]
    assert said == [
        ("0.mp4", 0.5, ("joy",)),
        ("1.mp4", -1.0, ()),
        ("2.mp4", None, ("anger",)),
        ("3.mp4", 1.0, ("joy",)),
    ]
    first = dataset.samples[0]
    assert (first.group, first.start_s, first.end_s, first.text) == ("g", 1, 2.5, "hello")
    assert read_valence(source, group="speaker").samples[1].group == "s2"


def test_json_lines_hold_numbers(tmp_path: Path) -> None:
    rows = [{"path": "0.mp4", "valence": 0, "emotion": None}, {"path": "1.mp4", "valence": -0.25}]
    source = manifest(tmp_path, "\n".join(map(json.dumps, rows)), "clips.jsonl")
    assert [s.valence for s in read_valence(source).samples] == [0, -0.25]


def test_rows_that_cannot_be_used_are_told_and_cost_no_other(tmp_path: Path) -> None:
    source = manifest(
        tmp_path,
        "path,valence,emotion,start,end\n"
        "0.mp4,2.4,joy\n"
        "1.mp4,nan,joy\n"
        "2.mp4,good,joy\n"
        "3.mp4,,\n"
        "4.mp4,0.5,a/b\n"
        "5.mp4,0.5,joy,3,2\n"
        "gone.mp4,0.5,joy\n"
        ",0.5,joy\n"
        "6.mp4,0.5,joy\n"
        "6.mp4,0.5,joy\n"
        "7.mp4,0.5, joy \n",
    )
    dataset = read_valence(source)
    assert [s.name for s in dataset.samples] == ["6.mp4", "7.mp4"]
    told = {p.where: (p.level, p.kind, p.message) for p in dataset.problems}
    for line in (2, 3, 4):
        level, kind, message = told[f"clips.csv:{line}"]
        assert (level, kind) == ("error", "valence")
        assert "from -1 (unpleasant) to 1 (pleasant)" in message and "left out" in message
    assert "divide ratings from -3 to 3 by 3" in told["clips.csv:2"][2]
    kinds = [told[f"clips.csv:{line}"][1] for line in (5, 6, 7, 8, 9, 11)]
    assert kinds == ["unlabelled", "label_name", "times", "missing", "missing", "duplicate"]


def test_without_a_usable_row_nothing_is_left(tmp_path: Path) -> None:
    assert "no sample can be used" in refusal(manifest(tmp_path, "path,valence\n0.mp4,7\n"))


def test_the_other_tasks_are_named_where_the_columns_are_theirs(tmp_path: Path) -> None:
    rated = manifest(tmp_path, "path,valence\n0.mp4,0.5\n", "rated.csv")
    assert "for --task valence" in refusal(rated, read_classes)
    assert "for --task valence" in refusal(rated, read_segments)
    labelled = manifest(tmp_path, "path,label\n0.mp4,joy\n", "labelled.csv")
    said = refusal(labelled)
    assert "no column 'valence' and no column 'emotion'" in said and "call that 'emotion'" in said
    neither = manifest(tmp_path, "path,mood\n0.mp4,joy\n", "neither.csv")
    assert "found: path, mood" in refusal(neither)
    assert "path,valence,emotion" in refusal(tmp_path), "a folder has no ratings"
    assert "path,valence,emotion" in refusal(manifest(tmp_path, "{}", "clips.json"))
    both = manifest(tmp_path, "path,label,valence\n0.mp4,a,1\n1.mp4,b,0\n", "both.csv")
    for read, unused in ((read_classes, "valence"), (read_valence, "label")):
        (problem,) = (p for p in read(both).problems if p.kind == "other_task")
        assert problem.level == "warning" and unused in problem.message


# --- looking into files ------------------------------------------------------------------------


def looked_into(source: Path) -> Inspection:
    return inspect(read_valence(source), jobs=1, max_pixels=10**7)


def test_equal_clips_that_are_rated_otherwise_are_told(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        squares_clip(tmp_path / name, seed=1, seconds=0.5)
    source = tmp_path / "clips.csv"
    source.write_text("path,valence,emotion\na.mp4,0.5,\nb.mp4,0.25,joy\n")
    assert {p.kind for p in looked_into(source).dataset.problems} == {"two_valences", "one_sample"}
    source.write_text("path,valence,emotion\na.mp4,0.5,\nb.mp4,,joy\n")
    assert {p.kind for p in looked_into(source).dataset.problems} == {"duplicate", "one_sample"}
    source.write_text("path,valence,emotion\na.mp4,,rage\nb.mp4,,joy\n")
    assert "two_labels" in {p.kind for p in looked_into(source).dataset.problems}


def test_what_is_in_the_data_is_summed_up(tmp_path: Path) -> None:
    for i in range(4):
        squares_clip(tmp_path / f"{i}.mp4", seed=i, seconds=0.5)
    (tmp_path / "clips.csv").write_text(
        "path,valence,emotion,group\n0.mp4,-1,sad,g\n1.mp4,1,sad,g\n2.mp4,0.1,,h\n3.mp4,,joy,h\n"
    )
    said = summary(looked_into(tmp_path / "clips.csv"))
    valence = said["valence"]
    assert (valence["n"], valence["missing"], valence["without_emotion"]) == (3, 1, 1)
    assert (valence["min"], valence["max"]) == (-1, 1)
    assert valence["mean"] == pytest.approx(0.1 / 3)
    assert [part["n"] for part in valence["histogram"]] == [1, 0, 0, 0, 1, 0, 0, 1]
    assert valence["histogram"][0] == {"from": -1, "to": -0.75, "n": 1}
    assert said["balance"]["majority_share"] == pytest.approx(2 / 3), "of those with an emotion"


# --- dividing -----------------------------------------------------------------------------------


def sample(
    number: int, valence: float | None, emotion: str = "", group: str | None = None
) -> Sample:
    name = f"{number}.mp4"
    labels = (emotion,) if emotion else ()
    return Sample(Path(name), name, labels, None, group, None, valence=valence)


def of(samples: list[Sample]) -> DataSet:
    return make_dataset(Path("d"), samples, kind=VALENCE, multi_label=False, problems=())


def test_without_emotions_each_third_of_the_valences_is_in_validation() -> None:
    samples = [sample(i, (i % 30) / 15 - 1) for i in range(60)]
    divided = with_validation(of(samples), seed=1)
    held_out = [s.valence for s in divided.samples if s.split == "val"]
    thirds = Counter(int((valence + 1) * 1.5) for valence in held_out if valence is not None)
    assert thirds == {0: 4, 1: 4, 2: 4}
    check_for_training(divided)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1) | st.none(), st.sampled_from(["", "a", "b"]), st.integers(0, 7)),
        min_size=4,
        max_size=40,
    )
)
def test_groups_are_never_divided(rows: list[tuple[float | None, str, int]]) -> None:
    samples = [
        sample(i, 0.0 if valence is None and not emotion else valence, emotion, f"g{group}")
        for i, (valence, emotion, group) in enumerate(rows)
    ]
    divided = with_validation(of(samples), seed=0)
    homes = {(s.group, s.split) for s in divided.samples}
    assert len(homes) == len({s.group for s in samples})


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([sample(i, 0.5, "joy") for i in range(9)], "two emotions or more, or valences"),
        ([sample(i, 0.5) for i in range(9)], "two emotions or more, or valences"),
        ([sample(0, 0.5), sample(1, -0.5)], "no sample is left for validation"),
    ],
)
def test_what_cannot_be_learnt_is_refused(samples: list[Sample], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_for_training(with_validation(of(samples), seed=0))


def test_validation_must_have_what_training_has() -> None:
    rated = [replace(sample(i, i / 10), split="train") for i in range(5)]
    named = [replace(sample(9, None, "joy"), split="val")]
    with pytest.raises(DataError, match="no sample for validation has what those in train have"):
        check_for_training(of([*rated, *named]))


def test_one_emotion_is_no_hindrance_where_valences_vary() -> None:
    check_for_training(with_validation(of([sample(i, i / 10, "joy") for i in range(9)]), seed=0))
