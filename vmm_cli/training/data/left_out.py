"""Which samples of a split were left out of a data set, as far as that can be told."""

from __future__ import annotations

from vmm_cli.training.data.manifest import SPLIT_NAMES
from vmm_cli.training.data.samples import DataSet, Problem, left_out_of


def samples_left_out(data: DataSet, split: str | None) -> list[Problem]:
    """Return the problems for which a sample was left out, one each.

    Those of one split, and those of which the split cannot be told.
    """
    found = left_out_of(data)
    if split is None or not found:
        return found
    if data.source.is_dir():
        return [p for p in found if SPLIT_NAMES.get(p.where.split("/")[0].strip().lower()) == split]
    named = data.kind.splits_named(data.source, {problem.where for problem in found})
    # A row that cannot be read, or has no split that there is, may have been meant for this one.
    return [
        p
        for p in found
        if p.where not in named
        or any(SPLIT_NAMES.get(name, split) == split for name in named[p.where])
    ]
