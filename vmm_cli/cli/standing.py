"""How a run stands, in a few words: while it goes on, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vmm_cli.batch.ledger import Summary
from vmm_cli.batch.tally import Standing

# Before so much is done, how long the rest takes is a guess.
LEAST_SHARE = 0.002
LEAST_S = 2.0
SPEED_DIGITS_BELOW = 10.0

# show(done, total, words): draw how far a run is; None: nobody knows.
Show = Callable[[float, float | None, str], None]


def duration(seconds: float) -> str:
    """Return how long something takes, as people say it.

    >>> duration(7.4), duration(163), duration(3723)
    ('7 s', '2:43', '1:02:03')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Bar:
    """Says how far a run is: inputs, percent, times real time, time left.

    what: is said first, where a command does several things one after the other.
    """

    def __init__(
        self, show: Show, now: Callable[[], float] = time.monotonic, *, what: str = ""
    ) -> None:
        self._show = show
        self._now = now
        self._what = what
        self._begun: tuple[float, Standing] | None = None  # when work first got on, and how far

    def show(self, standing: Standing) -> None:
        """Show how far it is."""
        parts = [self._what] if self._what else []
        if standing.total != 1:
            parts.append(f"{standing.done}/{standing.total}")
        if self._begun is None and standing.share > 0:
            self._begun = self._now(), standing
        parts.append(f"{int(100 * standing.share):3d}%")  # 100% when all is done, not before
        if self._begun is not None and standing.share < 1:
            parts += self._rates(standing, *self._begun)
        self._show(standing.share, 1.0, "  ".join(parts))

    def _rates(self, standing: Standing, since: float, first: Standing) -> list[str]:
        elapsed_s, share = self._now() - since, standing.share - first.share
        if elapsed_s < LEAST_S or share < LEAST_SHARE:
            return []
        words = []
        if standing.seconds is not None:
            speed = (standing.seconds - (first.seconds or 0.0)) / elapsed_s
            digits = 1 if speed < SPEED_DIGITS_BELOW else 0
            words.append(f"{speed:.{digits}f}x real time")
        left_s = elapsed_s * (1 - standing.share) / share
        words.append(f"{duration(left_s)} left")
        return words


class Stages:
    """Says how far each stage of a command is, with a bar of its own.

    Attributes:
        totals: how many things each stage has, by its name; of stages that began.
    """

    def __init__(self, show: Show) -> None:
        self.totals: dict[str, int] = {}
        self._show = show
        self._what = ""
        self._bar = Bar(show)

    def show(self, what: str, standing: Standing) -> None:
        """Show how far the stage `what` is."""
        if what != self._what:
            self._what, self._bar = what, Bar(self._show, what=what)
        self.totals[what] = standing.total
        self._bar.show(standing)


def summed_up(counts: Mapping[str, int], seconds: float) -> str:
    """Return how much came of a run, and how long it took; counts of 0 behind the first are none.

    >>> summed_up({"used": 12, "left out": 0, "failed": 2}, 163)
    '12 used, 2 failed in 2:43'
    """
    first, *others = (f"{count} {word}" for word, count in counts.items())
    told = [text for text, count in zip(others, [*counts.values()][1:], strict=True) if count]
    return f"{', '.join([first, *told])} in {duration(seconds)}"


def closing_words(
    summary: Summary,
    *,
    failed: int,
    seconds: float,
    results: Path | None = None,
    filled: Mapping[str, Path] | None = None,
) -> str:
    """Return what came of a run, in one line.

    failed: how many names have a failed record, also of folders that were not searched. seconds:
    how long it took. results: where they are. filled: the folders of what else was made.

    >>> closing_words(Summary(3, 1, 0), failed=1, seconds=163, results=Path("l.jsonl"))
    '2 done, 1 already done, 1 failed in 2:43; results in l.jsonl'
    """
    done = summary.done - summary.resumed
    if not done and not failed and summary.resumed:
        text = f"nothing to do: {summary.resumed} already done"
    else:
        counts = {"done": done, "already done": summary.resumed, "failed": failed}
        text = summed_up(counts, seconds)
    if results is not None:
        text += f"; results in {results}"
    for what, folder in (filled or {}).items():
        text += f"; {what} in {folder}"
    return text
