"""How good a model is on labelled videos."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.events import event_clip
from vmm_cli import bundles
from vmm_cli.cli.evaluate import refuse_output, report_rows
from vmm_cli.errors import DataError, ModelError, UsageError
from vmm_cli.output.owned import NOTES_FILE, Written, noted_file
from vmm_cli.training.data.inspection import inspect
from vmm_cli.training.data.left_out import samples_left_out
from vmm_cli.training.data.read_classes import read_classes
from vmm_cli.training.data.read_segments import read_segments
from vmm_cli.training.data.samples import Sample, Segment
from vmm_cli.training.encoding import Means
from vmm_cli.training.evaluation import Evaluation, evaluate
from vmm_cli.training.evaluation_files import evaluation_files
from vmm_cli.training.model_labels import spelt_as
from vmm_cli.training.run_files import write_evaluation
from vmm_cli.training.tasks.catalogue import TASKS
from vmm_cli.training.tasks.classes import Judged
from vmm_cli.training.tasks.classes import mistakes as mistakes_of
from vmm_cli.training.tasks.task import Predictions


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def manifest(folder: Path, rows: list[str], header: str = "path,label,split,group") -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def evaluated(model: Path | str, data: Path, split: str | None = None, **more: Any) -> Evaluation:
    return evaluate(
        bundles.load(str(model)), read_classes(data, **more), Means(jobs=1), split=split
    )


def test_every_row_is_judged_unless_a_split_is_asked_for(
    squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    clips = [(kind, squares / kind / f"{i:02}.mp4") for kind in ("moving", "still") for i in (0, 1)]
    rows = [
        f"{path},{kind},{'test' if i % 2 else 'train'},{i // 2}"
        for i, (kind, path) in enumerate(clips)
    ]
    rows.append(f"{clips[0][1]},still,test,9")  # wrong on purpose
    data = manifest(tmp_path, rows)
    found = evaluated(squares_model, data)
    document = found.document
    assert document["schema"] == "vmm.evaluate/1"
    assert document["model"] == {"name": "tones", "version": 1}
    assert (document["n"], document["failed"], document["split"]) == (5, 0, "all")
    metrics = document["metrics"]
    assert metrics["accuracy"] == pytest.approx(0.8)
    assert metrics["per_group"] == {
        "0": {"n": 2, "accuracy": 1},
        "1": {"n": 2, "accuracy": 1},
        "9": {"n": 1, "accuracy": 0},
    }
    assert metrics["interval"] is None, "three groups are too few"
    assert metrics["confusion"]["matrix"] == [[2, 0], [1, 2]]
    with pytest.raises(DataError, match="'val'"):
        evaluated(squares_model, data, "val")

    write_evaluation(tmp_path / "out", found)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"scores.csv", "mistakes.csv", "operating.png"}
    assert names == {"metrics.json", "confusion.png", "calibration.png", NOTES_FILE} | tables
    assert names - {NOTES_FILE} <= set(evaluation_files()), "or they would replace files of others"
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == document
    with (tmp_path / "out" / "scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    assert float(scores[0]["moving"]) == pytest.approx(
        found.predictions.values[0].probabilities[0], abs=1e-6
    )
    wrong = [row for row in scores if row["predicted"] != row["label"]]
    with (tmp_path / "out" / "mistakes.csv").open() as file:
        mistakes = list(csv.DictReader(file))
    assert [row["path"] for row in mistakes] == [row["path"] for row in wrong]
    assert len(mistakes) == 1, "as the matrix has it"
    assert mistakes[0]["score"] == wrong[0][wrong[0]["predicted"]]


def test_labels_that_the_model_does_not_know_are_named(
    squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    clip = squares / "moving" / "00.mp4"
    data = manifest(tmp_path, [f"{clip},moving,,", f"{clip},flying,,"])
    with pytest.raises(DataError, match="does not know the labels 'flying'"):
        evaluated(squares_model, data)
    several = manifest(tmp_path, [f"{clip},moving|still,,"])
    with pytest.raises(DataError, match="several labels"):
        evaluated(squares_model, several)


@pytest.mark.slow
def test_what_cannot_be_judged_is_told(squares_model: Path, squares: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video at all" * 100)
    clip = squares / "moving" / "00.mp4"
    rows = [
        f"{clip},moving,test,0,0.5",
        f"{clip},moving,test,0.5,",
        f"{clip},moving,test,7,9",
        f"{clip},still,train,,",
        "bad.mp4,still,test,,",
    ]
    data = manifest(tmp_path, rows, "path,label,split,start,end")
    found = evaluated(squares_model, data, "test")
    assert found.document["split"] == "test"
    assert found.document["failed"] == 2 and found.document["n"] == 2
    assert sorted(reason.split(":")[0] for reason in found.failed.values()) == [
        "past_end",
        "unreadable",
    ]
    with pytest.raises(DataError, match="no sample could be judged"):
        evaluated(squares_model, manifest(tmp_path, ["bad.mp4,still,,"]))


@pytest.mark.slow
def test_rows_that_were_left_out_count_as_not_judged(
    squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    rows = [
        f"{squares / 'moving' / '00.mp4'},moving,Test,",
        f"{squares / 'still' / '00.mp4'},still,train,",
        "gone.mp4,still,test,",
        "lost.mp4,still,train,",
        "nowhere.mp4,still,,",
        f"{squares / 'still' / '01.mp4'},still,tset,",
        f"{squares / 'still' / '01.mp4'},,test,",
        f"{squares / 'moving' / '00.mp4'},moving,test,",  # a duplicate: its twin is judged
    ]
    data = manifest(tmp_path, rows)
    found = evaluated(squares_model, data)
    assert (found.document["n"], found.document["failed"]) == (2, 5)
    assert not found.failed
    found = evaluated(squares_model, data, "test")
    assert (found.document["n"], found.document["failed"]) == (1, 3)
    where = [problem.where for problem in found.left_out]
    assert where == ["rows.csv:4", "rows.csv:7", "rows.csv:8"]


def left_out(data: Path, split: str | None = None) -> list[str]:
    """Return where the samples were that `vmm evaluate` finds left out of timed annotations."""
    looked_at = inspect(read_segments(data), jobs=1, max_pixels=10**7)
    return [problem.where for problem in samples_left_out(looked_at.dataset, split)]


def test_of_timed_actions_each_video_that_is_left_out_counts_once(tmp_path: Path) -> None:
    for name in ("0.mp4", "1.mp4"):
        event_clip(tmp_path / name, seconds=3)
    (tmp_path / "broken.mp4").write_bytes(b"no video at all" * 100)
    rows = [
        "0.mp4,1,2,moves,val",
        "0.mp4,2,1,moves,",  # an action: its video is judged
        "0.mp4,7,8,rests,val",  # so, and no other has its label
        "broken.mp4,1,2,moves,val",
        "broken.mp4,2,3,moves,val",
        "gone.mp4,1,2,moves,val",
        "gone.mp4,2,3,moves,val",
        "1.mp4,8,9,moves,train",  # none of its actions can be used
        "1.mp4,9,8,moves,train",
        "1.mp4,60,90,moves,",
        "lost.mp4,1,2,moves,train",
        "free.mp4,1,2,moves,",
        "1.mp4,1,2,moves,train,,many",  # which video is meant cannot be told
    ]
    data = manifest(tmp_path, rows, "path,start,end,label,split")
    of_val = ["rows.csv:14", "rows.csv:7", "broken.mp4"]
    others = ["rows.csv:12", "rows.csv:13", "1.mp4"]
    assert sorted(left_out(data)) == sorted(of_val + others)
    assert left_out(data, "val") == of_val


def test_of_activitynet_each_video_that_is_left_out_counts_once(tmp_path: Path) -> None:
    def entry(file: str, *annotations: object) -> dict[str, object]:
        return {"file": file, "subset": "validation", "annotations": annotations}

    for name in ("0.mp4", "1.mp4"):
        event_clip(tmp_path / name, seconds=3)
    good = {"label": "moves", "segment": [1, 2]}
    late = {"label": "moves", "segment": [60, 90]}
    database = {
        "good": entry("0.mp4", good, late, {"label": "moves"}),
        "late": entry("1.mp4", late, {"label": "moves"}),
        "timeless": entry("2.mp4", {"label": "moves"}, {"label": "moves"}),
        "gone": entry("gone.mp4", good, good) | {"subset": "training"},
        "silent": {"file": "3.mp4", "subset": "validation"},
        "nameless": {"annotations": [good]},
    }
    data = tmp_path / "a.json"
    data.write_text(json.dumps({"database": database}))
    of_val = ["1.mp4", "a.json[nameless]", "a.json[silent]", "a.json[timeless]"]
    assert sorted(left_out(data, "val")) == of_val
    assert sorted(left_out(data)) == sorted([*of_val, "a.json[gone] annotation 1"])


@pytest.mark.slow
def test_files_of_a_folder_that_have_no_label_count_as_not_judged(
    squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    for split in ("test", "train"):
        (tmp_path / split / "moving").mkdir(parents=True)
        (tmp_path / split / "empty").mkdir()
        for name in ("a.mp4", "moving/b.mp4"):
            (tmp_path / split / name).symlink_to(squares / "moving" / "00.mp4")
    for split, failed in ((None, 2), ("TEST", 1)):
        found = evaluated(squares_model, tmp_path, split)
        assert found.document["failed"] == failed


@pytest.mark.slow
def test_splits_are_spelt_as_in_manifests(
    squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    data = manifest(tmp_path, [f"{squares / 'moving' / '00.mp4'},moving,valid,"])
    for spelling in ("val", "valid", "Validation"):
        found = evaluated(squares_model, data, spelling)
        assert (found.document["n"], found.document["split"]) == (1, "val")


def test_a_model_that_cannot_be_run_is_no_fault_of_the_rows(
    squares_model: Path, squares: Path, tmp_path: Path
) -> None:
    data = manifest(tmp_path, [f"{squares / 'moving' / '00.mp4'},moving,,"])
    with pytest.raises(ModelError, match=r"a network this vmm cannot run: .*temporal"):
        evaluated(another_network(squares_model, tmp_path / "m", temporal="lstm"), data)
    with pytest.raises(ModelError, match="it has 99 layers"):
        evaluated(another_network(squares_model, tmp_path / "n", layers=99), data)


def another_network(model: Path, folder: Path, **network: object) -> Path:
    """Save a model's weights as those of a network that they are not of."""
    fields = yaml.safe_load((model / "bundle.yaml").read_text())
    fields["network"].update(network)
    del fields["schema"], fields["weights"]
    bundles.save(folder, fields, bundles.load_tensors(bundles.read(model)))
    return folder


def test_the_table_shows_the_worst_groups_first() -> None:
    groups = {f"g{i:02}": {"n": 10 - i % 10, "accuracy": i % 5 / 4} for i in range(30)}
    metrics = {"accuracy": 0.5, "per_class": {}, "per_group": groups}
    document = {"n": 0, "failed": 2, "metrics": metrics}
    nothing = Predictions([], [], (), multi_label=False, has_groups=False)
    found = Evaluation(TASKS["classes"], nothing, {}, [], document)
    assert ("rows that could not be judged", "2") in list(report_rows(found))
    shown = [row for row in report_rows(found) if "group" in row[0]]
    assert shown[0] == ("group g00 (10)", "accuracy 0.000")
    assert [said for _, said in shown[:-1]] == sorted(said for _, said in shown[:-1])
    assert len(shown) == 21
    assert shown[-1] == ("10 more groups", "no worse; all with --format json")
    del metrics["per_group"]
    assert not [row for row in report_rows(found) if "group" in row[0]]


@pytest.mark.slow
def test_a_model_of_single_pictures_can_be_measured(squares: Path, tmp_path: Path) -> None:
    labels = bundles.load("imagenet").labels
    rows = [f"{squares / 'still' / '00.mp4'},{labels[i]},," for i in (0, 1)]
    found = evaluated("imagenet", manifest(tmp_path, rows))
    assert found.document["n"] == 2
    assert [len(one.probabilities) for one in found.predictions.values] == [1000, 1000]
    assert found.document["metrics"]["top5"] in (0, 0.5, 1)


def test_a_model_with_decomposed_labels_knows_the_composed_ones() -> None:
    composed, apart = (unicodedata.normalize(form, "agit\u00e9") for form in ("NFC", "NFD"))
    segments = (Segment(0, 1, composed), Segment(2, 3, "still"))
    names = (composed, "still")
    sample = Sample(Path("a.mp4"), "a.mp4", names, None, None, None, segments=segments)
    spelt = spelt_as((apart, "still"), sample)
    assert spelt.labels == (apart, "still")
    assert [segment.label for segment in spelt.segments or ()] == [apart, "still"]
    plain = replace(sample, segments=None)
    assert spelt_as((apart, "still"), plain).labels == (apart, "still")
    assert spelt_as((apart, composed, "still"), plain) is plain
    assert spelt_as(("other",), plain) is plain


def predicted(
    multi_label: bool, rows: list[tuple[str, tuple[str, ...], list[float]]]
) -> Predictions:
    samples = [Sample(Path(name), name, true, None, None, None) for name, true, _ in rows]
    values = [Judged(np.array(chances)) for *_, chances in rows]
    return Predictions(samples, values, ("x", "y"), multi_label, has_groups=False)


@pytest.mark.parametrize(
    ("rows", "multi_label", "expected"),
    [
        (
            [("a", ("x",), [0.4, 0.6]), ("b", ("y",), [0.9, 0.1]), ("c", ("x",), [1.0, 0.0])],
            False,
            [("b", "y", "x", 0.9), ("a", "x", "y", 0.6)],
        ),
        (
            [
                ("missed", ("x", "y"), [0.99, 0.49]),
                ("surely missed", ("y",), [0.2, 0.01]),
                ("right", ("x",), [0.9, 0.3]),
                ("too many", ("x",), [0.8, 0.7]),
            ],
            True,
            [
                ("surely missed", "y", "", 0.99),
                ("too many", "x", "x|y", 0.7),
                ("missed", "x|y", "x", 0.51),
            ],
        ),
    ],
)
def test_the_surest_mistakes_come_first(
    rows: list[tuple[str, tuple[str, ...], list[float]]],
    multi_label: bool,
    expected: list[tuple[str, str, str, float]],
    tmp_path: Path,
) -> None:
    head, *mistakes = mistakes_of(predicted(multi_label, rows))
    assert head == ["path", "start", "end", "label", "predicted", "score"]
    assert [(path, true, told) for path, _, _, true, told, _ in mistakes] == [
        one[:3] for one in expected
    ]
    scores = [float(str(row[-1])) for row in mistakes]
    assert scores == pytest.approx([one[3] for one in expected])


def test_only_what_an_evaluation_wrote_is_replaced(tmp_path: Path) -> None:
    for name in evaluation_files():
        (tmp_path / name).write_text("mine\n")
        with pytest.raises(UsageError, match="no earlier run wrote it"):
            refuse_output(tmp_path, overwrite=False)
        refuse_output(tmp_path, overwrite=True)
        (tmp_path / name).unlink()
    note = partial(Written(tmp_path / NOTES_FILE).note, "scores.csv")
    with noted_file(tmp_path / "scores.csv", note) as file:
        file.write("path,label\n")
    refuse_output(tmp_path, overwrite=False)  # one that was stopped before its end
    (tmp_path / "scores.csv").write_text("path,label\nedited\n")
    with pytest.raises(UsageError, match="was changed"):
        refuse_output(tmp_path, overwrite=False)
