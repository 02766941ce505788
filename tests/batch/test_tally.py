"""How far a run is."""

from __future__ import annotations

import pytest

from vmm_cli.batch.ledger import Summary
from vmm_cli.batch.tally import Standing, Tally
from vmm_cli.cli.standing import Bar, Stages, closing_words


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


def test_a_file_that_cannot_be_opened_is_no_usual_video() -> None:
    tally = Tally(2)
    tally.fail()
    standing = tally.standing([(0.1, 60.0)])
    assert (standing.done, standing.total) == (1, 2)
    assert standing.share == pytest.approx(0.1)
    assert standing.seconds == pytest.approx(6)


def test_what_a_failed_video_was_gone_over_is_work() -> None:
    tally = Tally(3)
    tally.settle(60.0)
    tally.fail(0.5, 60.0)
    standing = tally.standing()
    assert standing.share == pytest.approx(90 / 150)
    assert standing.seconds == pytest.approx(90)


def test_lengths_that_are_known_beforehand_count_for_those_that_wait() -> None:
    tally = Tally(4, whole_s=400.0)
    tally.settle(10.0)
    assert tally.standing([(0.5, 20.0)]).share == pytest.approx(20 / 400)
    tally.fail(0.0, 20.0)
    assert tally.standing().share == pytest.approx(10 / 380)
    tally.settle(70.0)
    tally.settle(300.0)
    assert tally.standing().share == 1


def test_all_is_done_whatever_sums_are_rounded_to() -> None:
    tally = Tally(4, whole_s=sum([0.1, 0.7, 0.2, 0.3]))
    for length_s in (0.3, 0.2, 0.7, 0.1):
        tally.settle(length_s)
    assert tally.standing().share == 1


def test_a_few_known_lengths_do_not_tell_the_speed() -> None:
    tally = Tally(10)
    for _ in range(3):
        tally.settle()
    tally.settle(60.0)
    assert tally.standing().seconds is None
    for _ in range(2):
        tally.settle(60.0)
    assert tally.standing().seconds == pytest.approx(180)


def test_the_bar_says_percent_speed_and_the_time_left() -> None:
    shown: list[str] = []
    clock = iter([0.0, 0.0, 10.0, 10.0])
    bar = Bar(lambda done, total, words: shown.append(words), lambda: next(clock))
    tally = Tally(1)
    bar.show(tally.standing([(0.1, 600.0)]))
    bar.show(tally.standing([(0.6, 600.0)]))
    assert shown[-1].strip() == "60%  30x real time  8 s left"


def test_the_bar_says_a_speed_also_where_the_first_inputs_told_no_length() -> None:
    shown: list[str] = []
    clock = iter([0.0, 0.0, 10.0])
    bar = Bar(lambda done, total, words: shown.append(words), lambda: next(clock), what="reading")
    bar.show(Standing(1, 10, 0.1, None))
    bar.show(Standing(2, 10, 0.2, 50.0))
    assert shown == ["reading  1/10   10%", "reading  2/10   20%  5.0x real time  1:20 left"]


def test_each_stage_has_its_own_percent() -> None:
    shown: list[str] = []
    stages = Stages(lambda done, total, words: shown.append(words))
    stages.show("looking", Standing(2, 2, 1.0, None))
    stages.show("epochs", Standing(1, 5, 0.2, None))
    assert shown == ["looking  2/2  100%", "epochs  1/5   20%"]
    assert stages.totals == {"looking": 2, "epochs": 5}


def test_a_rerun_says_that_there_is_nothing_to_do() -> None:
    assert closing_words(Summary(12, 12, 0), failed=0, seconds=1) == (
        "nothing to do: 12 already done"
    )
