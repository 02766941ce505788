"""The labels of samples held against those that a model knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vmm_cli.bundles import Bundle
from vmm_cli.errors import DataError
from vmm_cli.spelling import spelling_of
from vmm_cli.training.data.samples import DataSet, Sample, with_segments

MOST_LISTED = 5


def knows(bundle: Bundle, sample: Sample) -> bool:
    """Tell whether a model knows a sample's labels; one that has none need not."""
    return not bundle.labels or set(sample.labels) <= set(bundle.labels)


def spelt_as(labels: Sequence[str], sample: Sample) -> Sample:
    """Return a sample with its labels as a model has them, which may have their accents apart."""
    spelt = spelling_of(labels)
    if all(spelt(label) == label for label in sample.labels):
        return sample
    if sample.segments is not None:
        segments = (replace(s, label=spelt(s.label)) for s in sample.segments)
        return with_segments(sample, segments)
    return replace(sample, labels=tuple(sorted({spelt(x) for x in sample.labels})))


def refuse_unknown(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    """Raise DataError where samples have labels that the model does not know."""
    unknown = sorted({label for s in samples for label in s.labels} - set(bundle.labels))
    if unknown:
        raise DataError(
            f"{data.source}: model {bundle.name!r} does not know the labels "
            f"{', '.join(map(repr, unknown[:MOST_LISTED]))}"
            f"{', ...' if len(unknown) > MOST_LISTED else ''}; "
            f"`vmm models show {bundle.folder}` lists those it knows"
        )
