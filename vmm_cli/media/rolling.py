"""Captions that roll up: each cue repeats what is still on the screen, and every line counts once.

YouTube's automatic captions are so, with a cue of a few milliseconds in between that repeats the
last line alone; so is what is made of live captions (CEA-608 in its roll-up mode), whose last line
may grow word by word; so is karaoke, a cue for each word that is marked in the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from vmm_cli.media.cues import Cue

CONTIGUOUS_S = 0.25  # between cues that roll there is nothing, or what rounding leaves
FLASH_S = 0.1  # nobody reads what is shown for so short a time
MAX_LINES = 15  # a screen of CEA-608 has no more
TYPING_S = 0.5  # a line is shown so long, at most, between two of its letters

# Ordinary captions repeat a line here and there, because it is said again. Captions roll where the
# steps from one cue to the next mostly tell of it, or several in a row.
TELLS, TELLS_SURELY = 1, 2
ENOUGH = 2
SHARE_OF_CONTIGUOUS = 0.5
SHARE_OF_ALL = 0.1
RUN = 3


@dataclass(frozen=True)
class _Step:
    """What the next cue repeats of the one before it.

    Attributes:
        kept: how many of its lines stood in the one before, as the last ones there.
        grows: the last of these has become longer.
        tells: how surely the step tells that captions roll: 0, TELLS or TELLS_SURELY.
    """

    kept: int = 0
    grows: bool = False
    tells: int = 0


def unrolled(cues: Sequence[Cue]) -> tuple[Cue, ...]:
    """Return cues in order of time with every line once, where they roll; others as they are.

    A line has the start of the cue in which it first appears, and that cue's end.
    """
    ordered = sorted(cues, key=lambda cue: cue.start_s)
    steps = [_step(before, after) for before, after in pairwise(ordered)]
    told = ordered[:1]
    for cue, step, rolls in zip(ordered[1:], steps, _rolls(ordered, steps), strict=True):
        lines = cue.text.split("\n")
        kept = step.kept if rolls else 0
        if kept and (step.grows or (step.tells and kept == len(lines))):
            told[-1] = _continued(told[-1], cue, lines[kept - 1])
        if kept < len(lines):
            told.append(replace(cue, text="\n".join(lines[kept:])) if kept else cue)
    return tuple(told)


def _continued(shown: Cue, cue: Cue, line: str) -> Cue:
    """Return what is shown until `cue` goes, with this last line."""
    text = "\n".join([*shown.text.split("\n")[:-1], line])
    if shown.end_s is None or cue.end_s is None:
        return replace(shown, text=text)
    return replace(shown, text=text, end_s=max(shown.end_s, cue.end_s))


def _rolls(cues: Sequence[Cue], steps: Sequence[_Step]) -> list[bool]:
    """Tell of each step whether what is repeated there is to be left out."""
    telling = sum(step.tells > 0 for step in steps)
    contiguous = sum(_is_contiguous(before, after) for before, after in pairwise(cues))
    if (
        sum(step.tells for step in steps) >= ENOUGH
        and telling >= SHARE_OF_CONTIGUOUS * contiguous
        and telling >= SHARE_OF_ALL * len(steps)
    ):
        return [True] * len(steps)
    found = [False] * len(steps)
    begin = 0
    while begin < len(steps):
        end = begin
        while end < len(steps) and steps[end].kept:
            end += 1
        if sum(step.tells > 0 for step in steps[begin:end]) >= RUN:
            found[begin:end] = [True] * (end - begin)
        begin = end + 1
    return found


def _step(before: Cue, after: Cue) -> _Step:
    if not _is_contiguous(before, after):
        return _Step()
    old, new = before.text.split("\n"), after.text.split("\n")
    for kept in range(min(len(old), len(new), MAX_LINES), 0, -1):
        last, now = old[-1], new[kept - 1]
        grows = last != now
        if old[len(old) - kept : -1] != new[: kept - 1] or (
            grows and not _is_grown(last, now, before)
        ):
            continue
        if len(new) > kept:
            return _Step(kept, grows, TELLS_SURELY)
        is_brief = after.end_s is not None and after.end_s - after.start_s <= FLASH_S
        is_marked = old == new and before.marked != after.marked  # other words of the same text
        tells = TELLS_SURELY if is_brief and not grows else TELLS if grows or is_marked else 0
        return _Step(kept, grows, tells)
    return _Step()


def _is_contiguous(before: Cue, after: Cue) -> bool:
    return before.end_s is None or after.start_s - before.end_s <= CONTIGUOUS_S


def _is_grown(line: str, longer: str, shown: Cue) -> bool:
    """Tell whether a line went on, by words or, as it is typed, by letters."""
    if not longer.startswith(line):
        return False
    is_typed = shown.end_s is not None and shown.end_s - shown.start_s <= TYPING_S
    return is_typed or not longer[len(line)].isalnum()
