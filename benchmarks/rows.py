"""What is measured, what it should reach, and how a result is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from benchmarks.timing import spread


@dataclass(frozen=True)
class Aim:
    """One row of the table: `target` None means that it is shown for comparison alone."""

    what: str
    unit: Literal["x", "s", "dB", "MB"]
    sign: Literal["<=", ">="]
    target: float | None


AIMS = {
    "dense": Aim("dense extract (`--fps 5 --size 224`): wall over ffmpeg's", "x", "<=", 0.75),
    "dense-psnr": Aim("its pictures against ffmpeg's: mean PSNR", "dB", ">=", 32),
    "many": Aim(
        "the same for many clips, `--jobs 2`: wall over `xargs -P2 ffmpeg`'s", "x", "<=", 0.85
    ),
    "sparse-keyframes": Aim(
        "sparse extract (`--every 10`), times on keyframes: wall over ffmpeg's", "x", "<=", 0.10
    ),
    "sparse-between": Aim(
        "the same between keyframes (`--start 1.3`): wall over ffmpeg's", "x", "<=", 0.15
    ),
    "help": Aim("`vmm --help`: wall", "s", "<=", 0.3),
    "first-picture": Aim("extract-frames: from start to the first picture", "s", "<=", 0.6),
    "classify-tags": Aim(
        "classify: wall of a batched decord + torch loop with the same networks over ours",
        "x",
        ">=",
        2,
    ),
    "classify-decord": Aim(
        "classify `--model imagenet`: wall of a batched decord + torch loop over ours",
        "x",
        ">=",
        2.5,
    ),
    "classify-graph": Aim(
        "classify `--model imagenet`: wall of a batched decord + ONNX Runtime loop over ours",
        "x",
        ">=",
        1.2,
    ),
    "classify-opencv": Aim(
        "classify `--model imagenet`: wall of an OpenCV + ResNet-50 loop over ours", "x", ">=", None
    ),
    "classify-warm": Aim(
        "classify `--model imagenet` again (store warm): first over second, start-up excluded",
        "x",
        ">=",
        5,
    ),
    "one-cold": Aim(
        "classify of one clip: wall over that of `python -c 'import torch'`", "x", "<=", 0.8
    ),
    "one-warm": Aim("the same again (store warm)", "x", "<=", 0.2),
    "memory-growth": Aim(
        "extract-frames `--jobs 1`: peak memory, long over short file", "x", "<=", 1.1
    ),
    "memory-peak": Aim("the same: peak memory of the long file", "MB", "<=", 350),
}


@dataclass(frozen=True)
class Row:
    """A result. `value` is the median of `runs` measurements; None where it was skipped.

    detail: what the numbers were made on. samples: every single measurement, by name.
    """

    key: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    detail: str = ""
    skipped: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    measured_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat("T", "minutes"))

    def to_json(self) -> dict[str, Any]:
        """Return the row with what it should reach and whether it does, as JSON types."""
        return asdict(self) | asdict(AIMS[self.key]) | {"met": self.met}

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or no value."""
        aim = AIMS[self.key]
        if self.value is None or aim.target is None:
            return None
        return self.value <= aim.target if aim.sign == "<=" else self.value >= aim.target


def measured(
    key: str, values: Sequence[float], detail: str, samples: Mapping[str, Sequence[float]]
) -> Row:
    """Return the row of repeated measurements."""
    middle = spread(values)
    return Row(key, *middle, len(values), detail, samples=samples)


def skipped(key: str, reason: str) -> Row:
    """Return the row of what could not be measured here."""
    return Row(key, skipped=reason)


FIELDS = frozenset(Row.__dataclass_fields__)


def from_json(fields: Mapping[str, Any]) -> Row:
    """Return the row that `Row.to_json` wrote."""
    return Row(**{name: value for name, value in fields.items() if name in FIELDS})
