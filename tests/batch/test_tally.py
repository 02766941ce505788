"""How far a run is."""

from __future__ import annotations

import pytest

from vmm_cli.batch.ledger import Summary
from vmm_cli.batch.tally import Tally
from vmm_cli.cli.standing import Bar, closing_words


def test_a_video_counts_by_its_length() -> None:
    tally = Tally(2)
    tally.settle(30.0)
    standing = tally.standing([(0.5, 90.0)])
    assert (standing.done, standing.total) == (1, 2)
    assert standing.share == pytest.approx(75 / 120)
    assert standing.seconds == pytest.approx(75)


def test_what_an_earlier_run_has_done_is_no_work() -> None:
    tally = Tally(10)
    for _ in range(9):
        tally.settle(was_work=False)
    assert tally.standing([(0.25, 8.0)]).share == pytest.approx(0.25)


def test_nothing_to_do_is_all_done() -> None:
    tally = Tally(1)
    tally.settle(was_work=False)
    assert tally.standing().share == 1


def test_the_bar_says_percent_speed_and_the_time_left() -> None:
    shown: list[str] = []
    clock = iter([0.0, 0.0, 10.0, 10.0])
    bar = Bar(lambda done, total, words: shown.append(words), lambda: next(clock))
    tally = Tally(1)
    bar.show(tally.standing([(0.1, 600.0)]))
    bar.show(tally.standing([(0.6, 600.0)]))
    assert shown[-1].strip() == "60%  30x real time  8 s left"


def test_a_rerun_says_that_there_is_nothing_to_do() -> None:
    assert closing_words(Summary(12, 12, 0), failed=0, seconds=1) == (
        "nothing to do: 12 already done"
    )
