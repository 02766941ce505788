"""Pictures of how a training went and how good its model is, as PNG files.

matplotlib is imported only when one is drawn, and its global state is left alone. Every function
raises OutputError where the file cannot be written, and leaves what was there before.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.files import atomic_file
from vmm_cli.output.png import MARK
from vmm_cli.pictures.fonts import families
from vmm_cli.pictures.text import drawable_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DPI = 120
TRAIN_COLOUR, HELD_OUT_COLOUR, QUIET_COLOUR = "#8a8a8a", "#1f6fb4", "#444444"
# A confusion matrix: its cells, the most of it, and how wide a letter of a label is.
LARGEST_CELL_INCH, SMALLEST_CELL_INCH, LARGEST_MATRIX_INCH, LETTER_INCH = 0.8, 0.22, 40.0, 0.075
MAX_COUNTED_LABELS = 60  # one of more has colours only: there would be too many digits to read


def curves(history: Sequence[Mapping[str, float]], kept: int, path: Path) -> None:
    """Draw loss and accuracy by epoch, and mark on validation the epoch whose weights are kept.

    history: a row for each epoch with `epoch`, `train_loss` and, where there was a validation,
    `val_loss` and, where there is one, `val_accuracy`. kept: that epoch, counted from 1.
    """
    epochs = [row["epoch"] for row in history]
    held_out = [row for row in history if "val_loss" in row]
    shown = [key for key in ("val_loss", "val_accuracy") if held_out and key in held_out[0]]
    panels_wide = max(1, len(shown))
    figure = _figure(1 + 4 * panels_wide, 3.8)
    panels = figure.subplots(1, panels_wide, squeeze=False)[0]
    _curve(panels[0], epochs, [row["train_loss"] for row in history], "training", TRAIN_COLOUR)
    if held_out:
        there = [row["epoch"] for row in held_out]
        for axes, key in zip(panels, shown, strict=True):
            _curve(axes, there, [row[key] for row in held_out], "validation", HELD_OUT_COLOUR)
            axes.axvline(kept, color=QUIET_COLOUR, lw=1, ls=":", label=f"kept epoch: {kept}")
    if len(shown) > 1:
        panels[1].set_ylim(-0.02, 1.02)
        panels[1].set_ylabel("accuracy")
    panels[0].set_ylim(0, 1.06 * panels[0].dataLim.y1 or None)
    panels[0].set_ylabel("loss")
    for axes in panels:
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize="small")
    _save(figure, path)


def _curve(
    axes: Axes, epochs: Sequence[float], values: Sequence[float], label: str, colour: str
) -> None:
    # A line through one epoch would not be seen.
    marker = "o" if len(epochs) == 1 else ""
    axes.plot(epochs, values, color=colour, marker=marker, lw=1.8, label=label)


def learning_curve(points: Sequence[Mapping[str, Any]], figure: str, path: Path) -> None:
    """Draw how good a model gets with how many samples.

    points: each `samples_a_label` and of the figure `mean`, `sd` and `values`, one for each draw.
    """
    numbers = [point["samples_a_label"] for point in points]
    means = [point["mean"] for point in points]
    canvas = _figure(5.4, 4.0)
    axes = canvas.subplots()
    low = [point["mean"] - point["sd"] for point in points]
    high = [point["mean"] + point["sd"] for point in points]
    axes.fill_between(
        numbers, low, high, color=HELD_OUT_COLOUR, alpha=0.15, lw=0, label="± standard deviation"
    )
    for number, point in zip(numbers, points, strict=True):
        values = point["values"]
        axes.plot([number] * len(values), values, ls="", marker="o", ms=3, color=TRAIN_COLOUR)
    axes.plot(numbers, means, color=HELD_OUT_COLOUR, marker="o", lw=1.8, label="mean of the draws")
    axes.set_xscale("log", base=2)
    axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
    axes.minorticks_off()
    lowest = min(min(point["values"]) for point in points)
    axes.set_ylim(min(0.5, lowest - 0.05), 1.02)
    axes.set_xlabel("training samples a label")
    axes.set_ylabel(figure.replace("_", " "))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small", loc="lower right")
    _save(canvas, path)


def confusion_matrix(labels: Sequence[str], matrix: Sequence[Sequence[int]], path: Path) -> None:
    """Draw how often each true label (rows) was taken for each label (columns).

    Colours are shares of a row, so that rare labels are seen as well as common ones; the numbers
    are counts.
    """

    size = len(labels)
    shares = [[count / max(1, sum(row)) for count in row] for row in matrix]
    cell_inch = min(
        LARGEST_CELL_INCH, max(SMALLEST_CELL_INCH, 9 / size), LARGEST_MATRIX_INCH / size
    )
    names = drawable_labels(labels)
    longest_inch = max(map(len, names)) * LETTER_INCH
    figure = _figure(size * cell_inch + longest_inch + 2, size * cell_inch + longest_inch + 1)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    step = math.ceil(SMALLEST_CELL_INCH / cell_inch)  # names that do not fit are left out
    places, font = range(0, size, step), min(9.0, step * cell_inch * 72 * 0.6)
    axes.set_xticks(places, names[::step], fontsize=font, rotation=90 if size > 6 else 45)
    axes.set_yticks(places, names[::step], fontsize=font)
    if size <= 6:
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    _literally(axes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if size <= MAX_COUNTED_LABELS:
        _write_counts(axes, matrix, shares, cell_inch)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, aspect=30)
    bar.set_label("share of the true label")
    _save(figure, path)


def _write_counts(
    axes: Axes, matrix: Sequence[Sequence[int]], shares: Sequence[Sequence[float]], inch: float
) -> None:
    longest = max(len(str(count)) for row in matrix for count in row)
    font = min(11.0, 72 * inch * 0.5, 72 * inch * 1.3 / longest)
    for y, row in enumerate(matrix):
        for x, count in enumerate(row):
            if count:
                colour = "white" if shares[y][x] > 0.5 else "black"
                text = axes.text(x, y, str(count), ha="center", va="center", fontsize=font)
                text.set(color=colour, in_layout=False)  # thousands of them would be measured


def calibration(bins: Sequence[tuple[float, float, int]], ece: float, path: Path) -> None:
    """Draw how often predictions are right by how sure they were, and how many there were.

    bins: (mean confidence, accuracy, number of predictions), as `metrics.calibration_bins` gives
    them. ece: their mean distance from the diagonal.
    """
    confidence, accuracy, number = zip(*bins, strict=True) if bins else ((), (), ())
    figure = _figure(5, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=TRAIN_COLOUR, ls="--", lw=1, label="perfectly calibrated")
    upper.vlines(confidence, confidence, accuracy, color=HELD_OUT_COLOUR, alpha=0.35, lw=4)
    upper.plot(confidence, accuracy, color=HELD_OUT_COLOUR, marker="o", lw=1.2, label="this model")
    upper.set_title(f"expected calibration error: {ece:.3f}", fontsize="medium")
    upper.set_ylabel("accuracy")
    upper.set_ylim(-0.02, 1.02)
    upper.legend(frameon=False, fontsize="small", loc="upper left")
    lower.bar(confidence, number, width=0.03, color=TRAIN_COLOUR)
    lower.set_xlim(-0.02, 1.02)
    lower.set_xlabel("confidence")
    lower.set_ylabel("predictions")
    lower.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    _save(figure, path)


def operating(
    curves: Mapping[str, Sequence[Sequence[float | None]]],
    told: Mapping[str, float],
    hours: float,
    path: Path,
) -> None:
    """Draw recall against false alarms an hour, a line a label, and where each is told from.

    curves: by label, points [threshold, recall, false alarms an hour], the highest threshold
    first. told: by label, that threshold. hours: of video that this was measured on; what lies
    left of one false alarm in all of it could not be seen.
    """
    figure = _figure(6.4, 4.4)
    axes = figure.subplots()
    seen = 1 / hours
    for name, (label, points) in zip(drawable_labels([*curves]), curves.items(), strict=True):
        # Without any false alarm: at the left edge, where one could not be seen.
        hourly = [max(point[2] or 0.0, seen / 2) for point in points]
        recall = [point[1] or 0.0 for point in points]
        (line,) = axes.step(hourly, recall, where="post", lw=1.6, label=name)
        at = [i for i, point in enumerate(points) if (point[0] or 0.0) >= told[label] - 1e-9]
        if at:
            axes.plot(hourly[at[-1]], recall[at[-1]], "o", ms=6, color=line.get_color())
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")  # no formula
    axes.xaxis.set_minor_formatter(lambda value, place: "")
    axes.axvspan(axes.get_xlim()[0], seen, color=TRAIN_COLOUR, alpha=0.12, lw=0)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("false alarms an hour (grey: too few to be seen)")
    axes.set_ylabel("recall")
    axes.set_title(f"on {hours:.3g} hours; points: told from here on", fontsize="medium")
    axes.grid(alpha=0.25)
    if curves:
        legend = axes.legend(frameon=False, fontsize="small")
        _all_literally(legend.get_texts())
    _save(figure, path)


def valences(true: Sequence[float], predicted: Sequence[float], path: Path) -> None:
    """Draw the predicted valence of each sample against the true one; both from -1 to 1."""
    figure = _figure(4.6, 4.6)
    axes = figure.subplots()
    axes.plot([-1, 1], [-1, 1], color=TRAIN_COLOUR, ls="--", lw=1)
    axes.axhline(0, color=TRAIN_COLOUR, lw=0.6)
    axes.axvline(0, color=TRAIN_COLOUR, lw=0.6)
    # Ratings are often alike: what lies on top of each other is darker.
    axes.plot(true, predicted, ls="", marker="o", ms=5, alpha=0.4, mew=0, color=HELD_OUT_COLOUR)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)
    axes.set_aspect("equal")
    axes.set_xlabel("true valence")
    axes.set_ylabel("predicted valence")
    axes.grid(alpha=0.25)
    _save(figure, path)


def _literally(axes: Axes) -> None:
    """Draw tick labels as they are: a dollar sign does not start a formula, nor any font miss."""
    _all_literally((*axes.get_xticklabels(), *axes.get_yticklabels()))


def _all_literally(texts: Iterable[Text]) -> None:
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(families())


# --- files --------------------------------------------------------------------------------------


def _figure(width_inch: float, height_inch: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    # The mark is in the place of matplotlib's version, which would make equal pictures differ.
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", pad_inches=0.1, metadata=MARK)
    with atomic_file(path) as file:
        file.buffer.write(picture.getvalue())
