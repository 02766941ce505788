"""`vmm evaluate` as it is called: what it refuses, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.command import Vmm


def manifest(folder: Path, squares: Path, *more: str) -> Path:
    rows = [f"{squares / kind / '00.mp4'},{kind},{kind}-0" for kind in ("moving", "still")]
    path = folder / "rows.csv"
    path.write_text("\n".join(["path,label,group", *rows, *more]) + "\n")
    return path


@pytest.mark.parametrize("mark", ["bundle.yaml", ".training"])
def test_a_run_is_not_written_over(run_vmm: Vmm, squares: Path, tmp_path: Path, mark: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / mark).touch()
    data = manifest(tmp_path, squares)
    done = run_vmm("evaluate", "fights", data, "-o", "run")
    assert done.returncode == 2
    assert "run: holds a" in done.stderr and "give another -o" in done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == [mark]


def test_a_missing_file_is_a_row_that_could_not_be_judged(
    run_vmm: Vmm, squares: Path, squares_model: Path, tmp_path: Path
) -> None:
    data = manifest(tmp_path, squares, "gone.mp4,still,x")
    done = run_vmm("evaluate", squares_model, data, "--jobs", "1", "-o", "out")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert (document["n"], document["failed"]) == (2, 1)
    assert "gone.mp4" in done.stderr


def test_an_edited_model_is_told_once_and_before_work(
    run_vmm: Vmm, squares: Path, squares_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(squares_model, tmp_path / "m")
    path = tmp_path / "m" / "bundle.yaml"
    fields = yaml.safe_load(path.read_text())
    fields["network"]["temporal"] = "lstm"
    path.write_text(yaml.safe_dump(fields))
    clips = [squares / "moving" / f"0{i}.mp4" for i in range(3)]
    for asked in (["classify", *clips, "--model", "m"], ["evaluate", "m", squares]):
        done = run_vmm(*asked)
        assert done.returncode == 1
        assert not done.stdout
        assert done.stderr.count("\n") == 1 and "bundle.yaml: refused" in done.stderr
