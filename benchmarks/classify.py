"""classify beside the loops that one would write instead."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks import clips
from benchmarks.plan import Plan, length, walls
from benchmarks.rows import Row, measured, skipped
from benchmarks.timing import alternate, fresh, ratios, read_ahead, run, vmm_command

WARM_RUNS = 3  # of each warm measurement a round: it is short, and a difference of two is taken
CORES = 2
IMAGENET = ("--model", "imagenet")  # what most loops run
LEAST_WORK_S = 0.01  # a difference below this drowns in the noise of starting processes

# By key: the module that a loop needs, and what it is called.
PEERS = {
    "classify-decord": ("decord", "decord + torch"),
    "classify-graph": ("decord", "decord + ONNX Runtime"),
    "classify-opencv": ("cv2", "OpenCV + ResNet-50"),
    "classify-tags": ("decord", "decord + torch, both networks"),
}
OURS = {"classify-tags": "vmm, tags"}  # where that is not "vmm"


def classify(plan: Plan) -> list[Row]:
    """Label many short clips: against two loops, and against doing it a second time."""
    paths = [plan.hd(number, 1) for number in range(plan.scale.classify_clips)]
    tinies = [clips.tiny(plan.clips / f"tiny_{name}.mp4") for name in ("one", "other")]
    read_ahead(paths)
    store, tiny_store = plan.folder / "store", plan.folder / "store_tiny"
    outputs: dict[str, str] = {}

    def cold(inputs: Sequence[Path], cache: Path) -> Callable[[], float]:
        def measure() -> float:
            return _vmm(plan, inputs, fresh(cache), outputs, IMAGENET)

        return measure

    def warm(inputs: Sequence[Path], cache: Path) -> Callable[[], float]:
        def measure() -> float:
            return median(_vmm(plan, inputs, cache, outputs, IMAGENET) for _ in range(WARM_RUNS))

        return measure

    sides = {
        "vmm": cold(paths, store),
        "vmm again": warm(paths, store),
        "vmm, tiny": cold(tinies, tiny_store),
        "vmm again, tiny": warm(tinies, tiny_store),
        "vmm, tags": lambda: _vmm(plan, paths, fresh(plan.folder / "store_tags"), {}),
    }
    loops = {key: name for key, (module, name) in PEERS.items() if _is_installed(module)}
    for key, name in loops.items():
        sides[name] = _loop(key.removeprefix("classify-"), paths, outputs)
    times = alternate(sides, plan.scale.rounds)
    shutil.rmtree(store)
    shutil.rmtree(tiny_store)
    shutil.rmtree(plan.folder / "store_tags")

    about = f"{len(paths)} clips of {length(paths[0])}, 720p"
    rows = []
    for key, (module, name) in PEERS.items():
        if key not in loops:
            rows.append(skipped(key, f"{module} is not installed"))
            continue
        ours = OURS.get(key, "vmm")
        both = {ours: times[ours], name: times[name]}
        detail = f"{about}; {walls(both)}"
        if module == "decord" and ours == "vmm":  # they see with the same network
            loop = key.removeprefix("classify-")
            same = _same_first_labels(outputs["vmm"], outputs[loop])
            detail += f"; the same first label for {same} of {len(paths)} clips"
        rows.append(measured(key, ratios(times[name], times[ours]), detail, both))
    return [*rows, _second_run(times, about)]


def one_clip(plan: Plan) -> list[Row]:
    """Label a single clip, against importing PyTorch and doing nothing with it."""
    path = plan.hd(0, 1)
    read_ahead([path])
    store = plan.folder / "store"
    torch = [sys.executable, "-c", "import torch"]
    times = alternate(
        {
            "vmm": lambda: _vmm(plan, [path], fresh(store), {}),
            "vmm again": lambda: _vmm(plan, [path], store, {}),
            "import torch": lambda: run(torch)[0],
        },
        plan.scale.rounds,
    )
    shutil.rmtree(store)
    rows = []
    for key, name in (("one-cold", "vmm"), ("one-warm", "vmm again")):
        both = {name: times[name], "import torch": times["import torch"]}
        detail = f"{length(path)}, 720p; {walls(both)}"
        rows.append(measured(key, ratios(times[name], times["import torch"]), detail, both))
    return rows


def _second_run(times: dict[str, list[float]], about: str) -> Row:
    """Compare both runs' work: their wall time less that of the same run on two tiny clips."""
    vmm_times = {name: values for name, values in times.items() if name.startswith("vmm")}
    first, second = (
        [max(whole - start, LEAST_WORK_S) for whole, start in zip(a, b, strict=True)]
        for a, b in (
            (times["vmm"], times["vmm, tiny"]),
            (times["vmm again"], times["vmm again, tiny"]),
        )
    )
    whole = median(ratios(times["vmm"], times["vmm again"]))
    detail = f"{about}; {walls(vmm_times)}; {whole:.1f} x with start-up"
    return measured("classify-warm", ratios(first, second), detail, vmm_times)


def _vmm(
    plan: Plan,
    inputs: Sequence[Path],
    cache: Path,
    outputs: dict[str, str],
    model: Sequence[str] = (),
) -> float:
    words = ["classify", *inputs, *model, "--format", "jsonl", "--jobs", str(CORES)]
    command = [*vmm_command(), *words, "--device", "cpu"]
    wall_s, text = run(command, env=plan.environment(VMM_CACHE_DIR=cache))
    if len(inputs) > CORES:
        outputs["vmm"] = text
    return wall_s


def _loop(name: str, paths: Sequence[Path], outputs: dict[str, str]) -> Callable[[], float]:
    def measure() -> float:
        command = [sys.executable, "-m", f"benchmarks.peers.{name}_loop", *paths]
        wall_s, outputs[name] = run(command)
        return wall_s

    return measure


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _same_first_labels(ours: str, theirs: str) -> int:
    records = [json.loads(line) for line in ours.splitlines()]
    first = {record["input"]: record["labels"][0]["label"] for record in records}
    return sum(
        first[line["input"]] == line["label"] for line in map(json.loads, theirs.splitlines())
    )
