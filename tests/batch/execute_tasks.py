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

import numpy as np

from vmm_cli.batch.executor import Device
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.errors import InputError, UsageError
from vmm_cli.features.computing import computing


@dataclass(frozen=True)
class Request:
    """`open_after`: how many numbers all workers must want before any of them asks."""

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


# --- on a device


@dataclass(frozen=True)
class Doubles:
    """A network whose rows are one number, and come back twice as large."""

    request: Request
    device: str
    width: int = 1
    batch: int = 1

    def run(self, rows: np.ndarray) -> np.ndarray:
        note(self.request, "compute", os.getpid(), *(int(row[0]) for row in rows))
        for row in rows:
            if (what := EFFECTS.get(int(row[0]))) is not None:
                _act(f"compute:{what}", "compute")
        return 2 * rows.astype(np.float32)


EFFECTS = {101: "die", 102: "fail", 103: "hang"}


def load_doubles(request: Request, device: str) -> Doubles:
    note(request, "load", os.getpid(), device)
    return Doubles(request, device)


def open_device(name: str) -> None:
    """Open a device by its name: "works", "none", "dies"; "once:LOG" works the first time only."""
    if name == "none":
        raise UsageError("there is no such device")
    if name == "dies":
        os._exit(3)
    if name.startswith("once:"):
        mark = Path(name.removeprefix("once:"))
        if mark.exists():
            raise UsageError("the device has gone")
        mark.touch()


def run_on_device(request: Request, input: Input, part: None) -> int:
    """Ask for the double of each number; those of a word "1+2" at once."""
    for _ in words(input):
        note(request, "ask", input.name)
    until = time.monotonic() + 20
    while request.log.read_text().count("ask") < request.open_after and time.monotonic() < until:
        time.sleep(0.02)
    total = 0
    for word in words(input):
        if not word[0].isdigit():
            total += _act(word, "run")
            continue
        rows = np.array([[int(number)] for number in word.split("+")], np.int64)
        network = computing(load_doubles, request)
        total += int(network.run(rows).sum())
    return total


def plain(request: Request) -> Work[Request, Any, int]:
    return Work(request, run=run, finish=finish)


def split(request: Request) -> Work[Request, Any, int]:
    return Work(request, run=run, finish=finish, plan=plan)


def writing_files(request: Request) -> Work[Request, Any, int]:
    return Work(request, run=run, finish=finish, kept=kept, tidy=tidy)


def on_device(request: Request, **more: Any) -> Work[Request, Any, int]:
    device = Device(request.device, open_device, **more)
    return Work(request, run=run_on_device, finish=finish, device=device)


def on_optional_device(request: Request) -> Work[Request, Any, int]:
    return on_device(request, optional=True)


def on_watched_device(request: Request) -> Work[Request, Any, int]:
    return on_device(request, limit_s=1.0)
