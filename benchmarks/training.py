"""How long training and judging take, and how much memory: a table of docs/results.md.

    python -m benchmarks.training

Trains the default recipe on the first 200 clips of $VMM_DATA/fights, with an empty feature store
and with a full one, then judges all of its clips of about two seconds with the bundled model
`fights`. Everything is a whole process of `vmm`, start and end included.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import memory
from benchmarks.timing import environment, fresh, print_row, read_ahead, run, vmm_command
from vmm_cli.media.probe import probe

TRAINED_CLIPS = 200
JUDGED_SECONDS = (1.9, 2.1)
MEGABYTE = 10**6


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how long training and judging take.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds fights/")
    folder = Path(os.environ["VMM_DATA"]) / "fights"
    paths = [folder / row["path"] for row in rows(folder)]
    read_ahead(paths)
    print("| what | measured (min to max) |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        data = manifest(folder, work / "clips.csv")
        store, env = work / "store", environment(work / "home")
        env["VMM_CACHE_DIR"] = str(store)
        train: list[str | Path] = [*vmm_command(), "train", data, "-o", work / "run"]
        cold: list[float] = []
        warm: list[float] = []
        for _ in range(rounds):
            fresh(store)
            for times in (cold, warm):
                fresh(work / "run")
                times.append(run(train, env=env)[0])
        print_row(f"training on {TRAINED_CLIPS} clips, store empty", cold, "s")
        print_row("the same, store full", warm, "s")
        if memory.is_measurable():
            fresh(store)
            fresh(work / "run")
            peak = memory.peak_pss(train, env=env)
            print_row("its peak memory, store empty", [peak / MEGABYTE], "MB")
        low, high = JUDGED_SECONDS
        short = [path for path in paths if low <= (probe(path).duration_s or 0) <= high]
        rates = []
        for _ in range(rounds):
            fresh(store)
            judge: list[str | Path] = [*vmm_command(), "classify", *short, "--model", "fights"]
            rates.append(len(short) / run(judge, env=env)[0])
        print_row(
            f"classify with `fights`, {len(short)} clips of 2 s, store empty", rates, "clips/s"
        )


def rows(folder: Path) -> list[dict[str, str]]:
    """Return what clips.csv says, row by row."""
    with (folder / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(folder: Path, path: Path) -> Path:
    """Write the first clips' paths, labels and recordings to `path`, and return it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for row in rows(folder)[:TRAINED_CLIPS]:
            writer.writerow([folder / row["path"], row["label"], row["group"]])
    return path


if __name__ == "__main__":
    main()
