"""One function called for many things in workers."""

from __future__ import annotations

from operator import truediv

import pytest

from vmm_cli.batch.gather import gather
from vmm_cli.batch.tally import Standing
from vmm_cli.errors import InputError


@pytest.mark.parametrize("lengths_s", [None, [10.0, 50.0, 40.0]])
def test_what_fails_costs_its_own_result_and_counts_for_no_work(
    lengths_s: list[float | None] | None,
) -> None:
    heard: list[Standing] = []
    calls = [(6, 3), (6, 0), (6, 2)]
    limits = [30.0] * len(calls)
    found = gather(truediv, calls, limits, jobs=1, lengths_s=lengths_s, on_progress=heard.append)
    assert (found[0], found[2]) == (2, 3)
    assert isinstance(found[1], InputError) and found[1].code == "internal"
    at = {standing.done: standing.share for standing in heard}
    assert [*at] == [0, 1, 2, 3]
    shares = [0, 1 / 3, 1 / 2, 1] if lengths_s is None else [0, 0.1, 0.2, 1]
    assert [*at.values()] == pytest.approx(shares)
    assert heard[-1].seconds == (None if lengths_s is None else 50)
