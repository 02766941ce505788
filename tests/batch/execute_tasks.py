"""Tiny work for the tests of `execute`: each input is a text file, its words are its parts.

A word of digits counts as that number; others have effects, see `_act`. Every step is noted in the
request's log.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmm_cli.batch.device import Loaded, Stage
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.errors import InputError, UsageError

AREA_BYTES = 5000


@dataclass(frozen=True)
class Request:
    """`open_after`: how many notes of "load" opening waits for."""

    log: Path
    device: str = "works"
    open_after: int = 0
    kept: bool = True


def note(request: Request, *words: object) -> None:
    with request.log.open("a") as log:
        log.write(" ".join(map(str, words)) + "\n")


def words(input: Input) -> list[str]:
    return input.path.read_text().split()


def _act(word: str, when: str) -> int:
    """Do what a word says, e.g. "compute:die"."""
    if word.isdigit():
        return int(word)
    step, _, what = word.partition(":")
    if step == when:
        match what:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(60)
            case "fail":
                raise ValueError("as told")
            case "refuse":
                raise InputError("refused", "as told")
    return 0


# --- in one step


def run(request: Request, input: Input, part: list[str] | str | None) -> int:
    note(request, "run", input.name, os.getpid())
    if isinstance(part, str):
        part = [part]
    return sum(_act(word, "run") for word in (words(input) if part is None else part))


@dataclass(frozen=True)
class Sum:
    results: list[int]

    def to_record(self) -> dict[str, Any]:
        return {"sum": sum(self.results), "results": self.results}


def finish(request: Request, input: Input, results: Sequence[int]) -> Sum:
    return Sum(list(results))


def plan(request: Request, input: Input, workers: int) -> list[list[str]]:
    all_words = words(input)
    return [all_words[i::workers] for i in range(workers)]


def kept(request: Request, input: Input) -> bool:
    return request.kept


def tidy(request: Request) -> None:
    note(request, "tidy")


# --- in two steps


def plan_loads(request: Request, input: Input, workers: int) -> list[str]:
    return [] if words(input)[0] == "warm" else words(input)


def load(request: Request, input: Input, part: str, area: memoryview) -> Loaded:
    """Fill the area with one byte; of "1+2+3" the 1 now and the rest later."""
    note(request, "load", input.name)
    word, _, rest = part.partition("+")
    number = _act(word, "load")
    area[:AREA_BYTES] = bytes([number]) * AREA_BYTES
    return Loaded((input.name, word), rest or None)


def open_device(request: Request) -> None:
    note(request, "open", os.getpid())
    if request.device == "none":
        raise UsageError("there is no such device")
    if request.device == "dies":
        os._exit(3)
    until = time.monotonic() + 20
    while request.log.read_text().count("load") < request.open_after and time.monotonic() < until:
        time.sleep(0.02)


def compute(request: Request, items: list[tuple[tuple[str, str], memoryview]]) -> list[int]:
    note(request, "compute", len(items), *(name for (name, _), _ in items))
    results = []
    for (_, word), area in items:
        _act(word, "compute")
        content = set(area[:AREA_BYTES].tobytes())
        assert len(content) == 1
        results.append(content.pop())
    return results


def plain(request: Request) -> Work[Request, Any, int]:
    return Work(request, run=run, finish=finish)


def split(request: Request) -> Work[Request, Any, int]:
    return Work(request, run=run, finish=finish, plan=plan)


def writing_files(request: Request) -> Work[Request, Any, int]:
    return Work(request, run=run, finish=finish, kept=kept, tidy=tidy)


def staged(request: Request, *, optional: bool = False) -> Work[Request, Any, int]:
    stage = Stage(plan_loads, load, open_device, compute, AREA_BYTES, optional)
    return Work(request, run=run, finish=finish, stage=stage)


def optionally_staged(request: Request) -> Work[Request, Any, int]:
    return staged(request, optional=True)
