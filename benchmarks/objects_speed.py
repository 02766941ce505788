"""How fast `detect-objects` is, and how much memory it takes: tables of docs/results.md.

    python -m benchmarks.objects_speed           # ten minutes of 720p, two pictures a second
    python -m benchmarks.objects_speed memory    # half an hour beside five minutes

Everything is a whole process of `vmm`, start and end included, with an empty feature store. A talk,
of clips of $VMM_DATA, has one person at all times, whose poses are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import clips, memory
from benchmarks.plan import FULL, Plan, length
from benchmarks.talk import talk
from benchmarks.timing import fresh, print_row, read_ahead, run, vmm_command

SECONDS = 600
LENGTHS = (300, 1800)
MEGABYTE = 10**6


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how fast objects are found.")
    parser.add_argument("what", nargs="?", choices=("speed", "memory"), default="speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "out")
    arguments = parser.parse_args()
    plan = Plan(arguments.folder, FULL)
    print("| what | measured (min to max) |\n| --- | --- |")
    {"speed": speed, "memory": peak_memory}[arguments.what](plan, arguments.rounds)


def speed(plan: Plan, rounds: int) -> None:
    """Print how many times real time: rendered shots, and a talk with and without poses."""
    half = plan.hd(0, SECONDS // clips.SHOT_S // 2)
    shots = clips.joined(plan.clips / f"hd_00_{SECONDS}s.mp4", [half, half])
    heads = talk(plan.clips, SECONDS)
    store = plan.folder / "objects_store"
    env = plan.environment(VMM_CACHE_DIR=store)
    for what, clip, more in (
        ("rendered shots", shots, ()),
        ("a talk", heads, ()),
        ("a talk, `--pose`", heads, ("--pose",)),
    ):
        read_ahead([clip])
        walls = []
        for _ in range(rounds):
            fresh(store)
            walls.append(SECONDS / run([*detect(clip), *more], env=env)[0])
        print_row(f"{length(clip)} of 720p: {what}", walls, "times real time", digits=2)


def peak_memory(plan: Plan, rounds: int) -> None:
    """Print the peaks of talks of two lengths, poses read, nothing stored."""
    peaks = []
    for seconds in LENGTHS:
        path = talk(plan.clips, seconds)
        words = [*detect(path), "--pose", "--no-store", "--format", "jsonl"]
        peaks.append(memory.peak_pss(words, env=plan.environment()))
        print_row(f"peak memory, {length(path)} of 720p", [peaks[-1] / MEGABYTE], "MB", digits=2)
    print_row("the longer over the shorter", [peaks[1] / peaks[0]], "", digits=2)


def detect(clip: Path) -> list[str | Path]:
    """Return the command that is measured."""
    return [*vmm_command(), "detect-objects", clip]


if __name__ == "__main__":
    main()
