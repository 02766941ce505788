"""How good a model is on labelled videos."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vmm_cli import bundle as bundles
from vmm_cli.errors import DataError
from vmm_cli.training.dataset import read_dataset
from vmm_cli.training.evaluation import Evaluation, evaluate
from vmm_cli.training.run_files import write_evaluation


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
        bundles.load(str(model)),
        read_dataset(data, **more),
        split=split,
        jobs=1,
        use_store=True,
        max_pixels=10**7,
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
    assert metrics["interval"]["low"] <= 0.8 <= metrics["interval"]["high"]
    assert metrics["confusion"]["matrix"] == [[2, 0], [1, 2]]
    with pytest.raises(DataError, match="'val'"):
        evaluated(squares_model, data, "val")

    write_evaluation(tmp_path / "out", ("moving", "still"), found)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"metrics.json", "scores.csv", "confusion.png", "calibration.png"}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == document
    with (tmp_path / "out" / "scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    assert float(scores[0]["moving"]) == pytest.approx(found.chances[0, 0], abs=1e-6)


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
def test_a_model_of_single_pictures_can_be_measured(squares: Path, tmp_path: Path) -> None:
    labels = bundles.load("imagenet").labels
    rows = [f"{squares / 'still' / '00.mp4'},{labels[i]},," for i in (0, 1)]
    found = evaluated("imagenet", manifest(tmp_path, rows))
    assert found.document["n"] == 2
    assert found.chances.shape == (2, 1000)
    assert found.document["metrics"]["top5"] in (0, 0.5, 1)
