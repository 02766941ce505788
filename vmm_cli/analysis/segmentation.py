"""How much of a video's pictures each kind takes up: masks of single pictures, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.bundles import Bundle
from vmm_cli.digits import SCORE_DIGITS, TIME_DIGITS
from vmm_cli.features.segmentation import Mask


@dataclass(frozen=True)
class KindSummary:
    """How much of the pictures one kind takes up.

    Attributes:
        label: the kind.
        share: of the pictures' area, the mean over the time that was looked at.
        most: the largest share of one picture.
        share_of_time: in which it is seen.
        first_s, last_s: when first and last.
    """

    label: str
    share: float
    most: float
    share_of_time: float
    first_s: float
    last_s: float

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "label": self.label,
            "share": round(self.share, SCORE_DIGITS),
            "most": round(self.most, SCORE_DIGITS),
            "share_of_time": round(self.share_of_time, SCORE_DIGITS),
            "first_s": round(self.first_s, TIME_DIGITS),
            "last_s": round(self.last_s, TIME_DIGITS),
        }


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Which parts of the pictures show what.

    Attributes:
        model, version: what found it.
        summary: of each kind, the one that takes up most first.
        masks: by time, the largest of a picture first.
    """

    model: str
    version: int
    summary: Sequence[KindSummary]
    masks: Sequence[Mask]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types; masks as COCO has them."""
        return {
            "model": {"name": self.model, "version": self.version},
            "summary": [one.to_record() for one in self.summary],
            "masks": [
                {
                    "time_s": round(mask.time_s, TIME_DIGITS),
                    "label": mask.label,
                    "share": round(mask.share, SCORE_DIGITS),
                    "rle": {"size": [mask.height, mask.width], "counts": mask.counts},
                }
                for mask in self.masks
            ],
        }

    def __repr__(self) -> str:
        seen = ", ".join(f"{one.label} {one.share:.0%}" for one in self.summary)
        return f"Segmentation({seen or 'nothing'})"


def segmentation_of(
    masks: Sequence[Mask], model: Bundle, times_s: Sequence[float], until_s: float
) -> Segmentation:
    """Return what the masks of a video say, those of pictures at `times_s`."""
    lengths = np.diff([*times_s, max(until_s, times_s[-1] if len(times_s) else 0.0)])
    if not lengths.sum():  # a still, or one picture at the very end
        lengths = np.ones(len(times_s))
    for_s = dict(zip(times_s, lengths.tolist(), strict=True))
    by_label: dict[str, list[Mask]] = {}
    for mask in masks:
        by_label.setdefault(mask.label, []).append(mask)
    whole = float(lengths.sum())
    summary = [
        KindSummary(
            label,
            sum(mask.share * for_s[mask.time_s] for mask in ones) / whole,
            max(mask.share for mask in ones),
            sum(for_s[mask.time_s] for mask in ones) / whole,
            ones[0].time_s,
            ones[-1].time_s,
        )
        for label, ones in by_label.items()
    ]
    ordered = sorted(summary, key=lambda one: (-one.share, one.label))
    return Segmentation(model.name, model.version, ordered, masks)
