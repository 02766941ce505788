from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vmm_cli.errors import OutputError
from vmm_cli.pictures import plots
from vmm_cli.pictures.text import LONGEST_LABEL, drawable_labels


def history(epochs: int, held_out: bool = True) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "train_loss": 0.7 / epoch, "seconds": 0.1}
        if held_out:
            row |= {"val_loss": 0.5 + 0.02 * abs(epoch - 3), "val_accuracy": 0.8}
        rows.append(row)
    return rows


BINS = [(0.55, 0.5, 4), (0.71, 0.75, 16), (0.97, 0.9, 40)]
DRAWINGS: dict[str, Callable[[Path], None]] = {
    "curves": lambda path: plots.curves(history(6), 3, path),
    "curves of one epoch": lambda path: plots.curves(history(1), 1, path),
    "curves without validation": lambda path: plots.curves(history(6, held_out=False), 6, path),
    "confusion": lambda path: plots.confusion_matrix(["a", "b"], [[9, 1], [0, 0]], path),
    "calibration": lambda path: plots.calibration(BINS, 0.06, path),
    "calibration of nothing": lambda path: plots.calibration([], 0.0, path),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_is_drawn_and_none_is_cut(draw: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a letter without a font, a layout that does not fit
        draw(path)
    pixels = np.asarray(Image.open(path).convert("L"))
    assert min(pixels.shape) > 300
    assert pixels.min() < 50
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 255).all()
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_the_epoch_that_is_kept_is_marked(tmp_path: Path) -> None:
    """Without patience the last one is kept, though the third has the lowest loss."""
    marked = {}
    for kept in (3, 6):
        plots.curves(history(6), kept, tmp_path / "curves.png")
        pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("L"), float)
        loss = pixels[:, : pixels.shape[1] // 2]  # beside it is the accuracy
        dark = (loss < 128).mean(axis=0)  # of a column; those of the frame are dark all along
        marked[kept] = np.flatnonzero((dark > 0.18) & (dark < 0.6))
    assert marked[3].max() < marked[6].min()


def test_the_same_numbers_give_the_same_file(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        plots.curves(history(4), 3, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_what_cannot_be_written_leaves_the_old_picture(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        plots.curves(history(2), 2, tmp_path / "none" / "curves.png")
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        plots.confusion_matrix(["a"], [], path)
    assert path.read_bytes() == b"old"


def dark_pixels(path: Path) -> int:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return int((pixels == (8, 48, 107)).all(axis=2).sum())  # the blue of a whole row's share


@pytest.mark.parametrize("size", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_colours_are_shares_of_a_row(size: int, tmp_path: Path) -> None:
    labels = [f"label {i}" for i in range(size)]
    rare = np.eye(size, dtype=int)
    common = rare * np.arange(1, size + 1)[:, None]
    drawn = []
    for name, matrix in (("rare", rare), ("common", common), ("all", np.ones_like(rare))):
        plots.confusion_matrix(labels, matrix.tolist(), tmp_path / name)
        drawn.append(dark_pixels(tmp_path / name))
        with Image.open(tmp_path / name) as picture:
            assert max(picture.size) < 2500
    assert drawn[0] == pytest.approx(drawn[1], rel=0.1)  # the digits differ
    assert drawn[0] > 10 * drawn[2]


@pytest.mark.parametrize("size", [150, 400])
@pytest.mark.slow
def test_very_many_labels_still_make_a_picture(size: int, tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    plots.confusion_matrix(
        [f"label number {i}" for i in range(size)], np.eye(size, dtype=int).tolist(), path
    )
    with Image.open(path) as picture:
        assert max(picture.size) < 6000


def test_labels_of_any_kind_are_drawn(tmp_path: Path) -> None:
    labels = ["$x_1$ $", "ändern", "драка", "打架", "a\nb", "\u202egnp", "🥊", "", "x" * 300]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.confusion_matrix(labels, np.eye(9, dtype=int).tolist(), tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert max(picture.size) < 1800


def test_labels_are_short_and_differ() -> None:
    long = [f"{'fight ' * 20}{end}" for end in ("day", "night")]
    drawn = drawable_labels([*long, "plain", "a\tb", "\U0001f94a"])
    assert all(len(name) <= LONGEST_LABEL for name in drawn)
    assert drawn[0].endswith(" day")
    assert drawn[1].endswith(" night")
    assert drawn[2:] == ["plain", "a\\tb", "\\U0001f94a"]
    same = drawable_labels([f"{'x' * 40}{i}{'y' * 40}" for i in range(3)])
    assert [name[:3] for name in same] == ["1: ", "2: ", "3: "]


def test_matplotlib_is_loaded_only_when_something_is_drawn(tmp_path: Path) -> None:
    check = (
        "import sys; from pathlib import Path; from vmm_cli.pictures import plots; "
        "assert 'matplotlib' not in sys.modules; "
        "plots.calibration([], 0.0, Path(sys.argv[1])); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    path = tmp_path / "calibration.png"
    subprocess.run([sys.executable, "-c", check, path], check=True, timeout=300)
    assert path.exists()
