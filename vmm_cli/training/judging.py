"""What a network says of samples that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vmm_cli.encoders.streams import Encoded
from vmm_cli.training.learn import Learnt, found, probabilities, ratings
from vmm_cli.training.samples import DataSet, Sample
from vmm_cli.training.scoring import Judged, actions_judged, labels_judged, ratings_judged


def judge(
    learnt: Learnt, data: DataSet, encoded: Sequence[Encoded], split: str, device: torch.device
) -> Judged:
    """Judge the samples of a split, at least one; `encoded`: of all samples of the data set."""
    chosen = [i for i, sample in enumerate(data.samples) if sample.split == split]
    samples = [data.samples[i] for i in chosen]
    shown = [encoded[i] for i in chosen]
    if data.timed:
        detections = [found(learnt, one, data.labels) for one in shown]
        seconds = [sum(float(w.window.end - w.window.start) for w in one.windows) for one in shown]
        return _scored(data, samples, detections, seconds)
    if data.rated:
        said = ratings(learnt, shown, data.labels, device)
    else:
        said = probabilities(learnt, shown, multi_label=data.multi_label, device=device)
    return _scored(data, samples, list(said))


def together(parts: Sequence[Judged], data: DataSet) -> Judged:
    """Judge what all folds' networks say of the samples that each did not see."""
    return _scored(
        data,
        [sample for part in parts for sample in part.samples],
        [one for part in parts for one in part.said],
        [one for part in parts for one in part.seconds or ()],
    )


def _scored(
    data: DataSet, samples: Sequence[Sample], said: Sequence[Any], seconds: Sequence[float] = ()
) -> Judged:
    if data.timed:
        return actions_judged(data.labels, samples, said, seconds, has_groups=data.has_groups)
    if data.rated:
        return ratings_judged(data.labels, samples, said, has_groups=data.has_groups)
    return labels_judged(
        data.labels,
        samples,
        said,
        multi_label=data.multi_label,
        has_groups=data.has_groups,
    )
