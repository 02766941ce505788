"""Measure vmm beside its peers: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.classify import classify, one_clip
from benchmarks.extract import dense, many, sparse
from benchmarks.peak_memory import peak_memory
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.rows import Row
from benchmarks.startup import startup

FOLDER = Path(__file__).resolve().parent / "out"

MEASUREMENTS: dict[str, Callable[[Plan], list[Row]]] = {
    "startup": startup,
    "dense": dense,
    "many": many,
    "sparse": sparse,
    "classify": classify,
    "one": one_clip,
    "memory": peak_memory,
}


def main() -> None:
    arguments = _parse()
    results = FOLDER / ("results_quick.json" if arguments.quick else "results.json")
    if arguments.markdown:
        if not results.exists():
            sys.exit(f"{results} is not there: measure first")
        print(report.markdown(report.load(results)))
        return
    scale = QUICK if arguments.quick else FULL
    plan = Plan(FOLDER, replace(scale, rounds=arguments.rounds or scale.rounds))
    FOLDER.mkdir(exist_ok=True)
    load_before = round(os.getloadavg()[0], 2)
    _warm_up()
    for name in arguments.only or MEASUREMENTS:
        print(f"{name}:", flush=True)
        rows = MEASUREMENTS[name](plan)
        # After each: a run of half an hour that is cut short leaves what it has measured.
        told = report.save(results, rows, quick=arguments.quick, load_before=load_before)
        shutil.rmtree(plan.work, ignore_errors=True)
    print(f"\n{report.markdown(told)}\n\n{results}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter clips: three minutes")
    parser.add_argument(
        "--only", nargs="+", choices=MEASUREMENTS, help="measure these; keep the other rows"
    )
    parser.add_argument("--rounds", type=int, help="how often each side runs [default: 5, or 2]")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of the last run, measure nothing"
    )
    return parser.parse_args()


def _warm_up() -> None:
    """Bring the interpreter, torch and ffmpeg into the file cache, for all sides alike."""
    subprocess.run([sys.executable, "-c", "import torch, av, typer"], check=True)
    if shutil.which("ffmpeg") is not None:
        subprocess.run(["ffmpeg", "-version"], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
