"""How fast `detect-actions` is, and how much memory it takes: tables of docs/results.md.

    python -m benchmarks.detect          # 10 minutes of 720p with the bundled model `falls`
    python -m benchmarks.detect memory   # two hours beside five minutes
    python -m benchmarks.detect train    # training on $VMM_DATA/overhead, feature store full

Everything is a whole process of `vmm`, start and end included.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import clips, memory
from benchmarks.plan import FULL, Plan, length
from benchmarks.timing import fresh, print_row, read_ahead, run, vmm_command

MINUTES_10 = 60  # shots
REPEATS = (1, 24)  # of five minutes
MEGABYTE = 10**6


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how fast actions are found.")
    parser.add_argument("what", nargs="?", choices=("speed", "memory", "train"), default="speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "out")
    arguments = parser.parse_args()
    plan = Plan(arguments.folder, FULL)
    print("| what | measured (min to max) |\n| --- | --- |")
    {"speed": speed, "memory": peak_memory, "train": train}[arguments.what](plan, arguments.rounds)


def speed(plan: Plan, rounds: int) -> None:
    """Ten minutes, with an empty feature store and with a full one."""
    clip = plan.hd(0, MINUTES_10 // 2)
    whole = clips.joined(plan.clips / f"hd_00_{MINUTES_10 * clips.SHOT_S}s.mp4", [clip, clip])
    read_ahead([whole])
    seconds = MINUTES_10 * clips.SHOT_S
    store = plan.folder / "detect_store"
    env = plan.environment(VMM_CACHE_DIR=store)
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(rounds):
        fresh(store)
        for walls in (cold, warm):
            walls.append(seconds / run(detect(whole), env=env)[0])
    print_row(f"{length(whole)} of 720p, store empty", cold, "times real time", digits=2)
    print_row("the same, store full", warm, "times real time", digits=2)


def peak_memory(plan: Plan, rounds: int) -> None:
    """Five minutes and two hours, nothing stored."""
    part = plan.hd(0, MINUTES_10 // 2)
    peaks = []
    for repeats in REPEATS:
        seconds = repeats * MINUTES_10 // 2 * clips.SHOT_S
        path = clips.joined(plan.clips / f"hd_00_{seconds}s.mp4", [part] * repeats)
        peaks.append(memory.peak_pss([*detect(path), "--no-store"], env=plan.environment()))
        print_row(f"peak memory, {length(path)} of 720p", [peaks[-1] / MEGABYTE], "MB", digits=2)
    print_row("the longer over the shorter", [peaks[1] / peaks[0]], "", digits=2)


def train(plan: Plan, rounds: int) -> None:
    """Training on all videos of a data set whose features are stored."""
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds overhead/")
    data = Path(os.environ["VMM_DATA"]) / "overhead" / "annotations.json"
    env = plan.environment(VMM_CACHE_DIR=plan.folder / "detect_store")
    walls = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "run"
        command = [*vmm_command(), "train", data, "--task", "segments", "-o", work]
        run([*command, "--epochs", "1"], env=env)  # fills the store
        for _ in range(rounds):
            fresh(work)
            walls.append(run(command, env=env)[0])
    print_row("training on overhead, store full", walls, "s", digits=2)


def detect(clip: Path) -> list[str | Path]:
    """Return the command that is measured."""
    return [*vmm_command(), "detect-actions", clip, "--model", "falls"]


if __name__ == "__main__":
    main()
