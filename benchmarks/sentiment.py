"""How fast `sentiment` is, and how much memory it takes: tables of docs/results.md.

    python -m benchmarks.sentiment          # a talk of 10 minutes in 720p
    python -m benchmarks.sentiment memory   # an hour beside five minutes

Everything is a whole process of `vmm`, start and end included; nothing is kept between runs. The
talk comes from $VMM_DATA. Speech is recognised where the extra `speech` is installed.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from benchmarks import memory
from benchmarks.plan import FULL, Plan, length
from benchmarks.talk import talk
from benchmarks.timing import print_row, read_ahead, run, vmm_command

MEGABYTE = 10**6
WITHOUT = ("--evidence", "face,voice")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how fast a talk is judged.")
    parser.add_argument("what", nargs="?", choices=("speed", "memory"), default="speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "out")
    arguments = parser.parse_args()
    plan = Plan(arguments.folder, FULL)
    print("| what | measured (min to max) |\n| --- | --- |")
    {"speed": speed, "memory": peak_memory}[arguments.what](plan, arguments.rounds)


def speed(plan: Plan, rounds: int) -> None:
    """Ten minutes, without speech recognition and with it."""
    path = talk(plan.clips, 600)
    read_ahead([path])
    sides = {"without speech recognition": WITHOUT}
    if find_spec("faster_whisper"):
        sides["with speech recognition"] = ()
    else:
        print("| with speech recognition | not measured: the extra `speech` is not installed |")
    for name, options in sides.items():
        walls = [run(_sentiment(path, *options), env=plan.environment())[0] for _ in range(rounds)]
        rates = [600 / wall for wall in walls]
        print_row(f"{length(path)} of 720p, {name}", rates, "times real time")


def peak_memory(plan: Plan, rounds: int) -> None:
    """Five minutes and an hour."""
    peaks = []
    for seconds in (300, 3600):
        path = talk(plan.clips, seconds)
        peaks.append(memory.peak_pss(_sentiment(path), env=plan.environment()))
        print_row(f"peak memory, {length(path)} of 720p", [peaks[-1] / MEGABYTE], "MB")
    print_row("the longer over the shorter", [peaks[1] / peaks[0]], "", digits=2)


def _sentiment(path: Path, *options: str) -> list[str | Path]:
    return [*vmm_command(), "sentiment", path, *options]


if __name__ == "__main__":
    main()
