"""A talk to measure on: the talking heads of $VMM_DATA in a row, in 720p, with sound."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import clips
from benchmarks.timing import run

FILTER = "scale=-2:720,pad=1280:720:(ow-iw)/2:0,setsar=1"


def talk(folder: Path, seconds: int) -> Path:
    """Return a talk of some length, made once with the program ffmpeg: clips of 3 s, repeated."""
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds talking_heads/")
    heads = sorted(Path(os.environ["VMM_DATA"]).glob("talking_heads/*.mpg"))
    folder.mkdir(parents=True, exist_ok=True)
    once, path = folder / "talk_once.mp4", folder / f"talk_{seconds}s.mp4"
    if not once.exists():
        run(_render(once, heads))
    if not path.exists():
        repeat = ["-stream_loop", "-1", "-i", once, "-t", str(seconds), "-c", "copy"]
        run(["ffmpeg", "-v", "error", "-nostdin", "-y", *repeat, path])
    return path


def _render(path: Path, heads: list[Path]) -> list[str | Path]:
    inputs = [word for head in heads for word in ("-i", head)]
    scaled = [f"[{i}:v]{FILTER}[v{i}]" for i in range(len(heads))]
    pairs = "".join(f"[v{i}][{i}:a]" for i in range(len(heads)))
    joined = f"{pairs}concat=n={len(heads)}:v=1:a=1[v][a]"
    graph = ";".join([*scaled, joined])
    x264 = [word for name, value in clips.X264.items() for word in (f"-{name}", value)]
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", *x264, "-c:a", "aac", "-ac", "1"]
    mapped = ["-filter_complex", graph, "-map", "[v]", "-map", "[a]"]
    return ["ffmpeg", "-v", "error", "-nostdin", "-y", *inputs, *mapped, *coded, path]
