"""Ask the ffprobe program what is in a folder of media, and keep its answers as JSON.

    python tools/ffprobe_truth.py "$VMM_DATA/odd_media" tests/data/odd_media_ffprobe.json

For each file: whether ffprobe could read it, and for its first video stream that is no attached
picture the time of every frame (`-show_frames`, best effort timestamp less the format's start
time, null where ffprobe has none) and the size of the picture as it is shown. tests/data/README.md
describes the fields.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
NOT_MEDIA = {".csv", ".md", ".json", ".txt"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix not in NOT_MEDIA]
    answers = {path.relative_to(folder).as_posix(): truth(path) for path in paths}
    arguments.output.write_text(render(version(), answers), encoding="utf-8")
    print(f"{len(answers)} files -> {arguments.output}")


def version() -> str:
    printed = subprocess.run(["ffprobe", "-version"], capture_output=True, text=True, check=True)
    return printed.stdout.splitlines()[0].split(" Copyright")[0]


def truth(path: Path) -> dict[str, Any]:
    """Return what ffprobe says of one file."""
    exit_code, answer, error = ffprobe(path, "-show_format", "-show_streams")
    record: dict[str, Any] = {"exit": exit_code, "error": error}
    if exit_code != 0:
        return record
    form = answer.get("format", {})
    record["format"] = form.get("format_name")
    record["duration"] = seconds(form.get("duration"))
    record["video"] = None
    origin = Fraction(form.get("start_time", "0"))
    for stream in answer.get("streams", []):
        if stream.get("codec_type") == "video" and not stream["disposition"]["attached_pic"]:
            record["video"] = video_truth(path, stream, origin)
            break
    return record


def video_truth(path: Path, stream: dict[str, Any], origin: Fraction) -> dict[str, Any]:
    """Return what ffprobe says of one video stream, all its frames decoded."""
    exit_code, answer, error = ffprobe(
        path, "-select_streams", str(stream["index"]), "-show_frames",
        "-show_entries",
        "frame=best_effort_timestamp_time,pts_time,width,height,sample_aspect_ratio",
    )  # fmt: skip
    frames = answer.get("frames", [])
    times = [seconds(frame.get("best_effort_timestamp_time"), origin) for frame in frames]
    stated = [seconds(frame.get("pts_time"), origin) for frame in frames]
    return {
        "codec": stream.get("codec_name"),
        "exit": exit_code,
        "error": error,
        "count": len(frames),
        "display": shown_size(stream, frames[0]) if frames else None,
        "sizes": len({(frame["width"], frame["height"]) for frame in frames}),
        "times": times,
        "pts": {i: pts for i, pts in enumerate(stated) if pts is not None and pts != times[i]},
    }


def shown_size(stream: dict[str, Any], frame: dict[str, Any]) -> list[int]:
    """Return [width, height] in square pixels (the width is stretched), after turning."""
    aspect = ratio(frame.get("sample_aspect_ratio")) or ratio(stream.get("sample_aspect_ratio"))
    width = int(frame["width"] * (aspect or 1) + Fraction(1, 2))
    height = int(frame["height"])
    matrices = [entry for entry in stream.get("side_data_list", []) if "rotation" in entry]
    degrees = matrices[0]["rotation"] if matrices else 0
    if abs(degrees) > 360:  # what ffprobe prints for a matrix of zeros
        degrees = 0
    return [height, width] if round(degrees / 90) % 2 else [width, height]


def ratio(text: str | None) -> Fraction | None:
    """Read "4:3"; None where it is unknown ("0:1", "N/A")."""
    if text is None or ":" not in text:
        return None
    above, below = (int(part) for part in text.split(":"))
    return Fraction(above, below) if above > 0 and below > 0 else None


def seconds(text: str | None, origin: Fraction = Fraction(0)) -> float | None:
    """Return the time since `origin`, to the microsecond, which is as fine as ffprobe prints."""
    return None if text is None or text == "N/A" else round(float(Fraction(text) - origin), 6)


def ffprobe(path: Path, *options: str) -> tuple[int | str, dict[str, Any], str | None]:
    """Return (exit code or "timeout", parsed answer, last line of the complaints)."""
    command = ["ffprobe", "-v", "error", "-print_format", "json", *options, "file:" + str(path)]
    try:
        run = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "timeout", {}, None
    complaints = run.stderr.decode(errors="replace").replace("file:" + str(path), path.name)
    lines = re.sub(r" @ 0x[0-9a-f]+", "", complaints).strip().splitlines()
    try:
        answer = json.loads(run.stdout.decode(errors="replace") or "{}")
    except json.JSONDecodeError:
        answer = {}
    return run.returncode, answer, lines[-1] if lines else None


def render(tool: str, answers: dict[str, dict[str, Any]]) -> str:
    """Return JSON with one file a line, so that a change shows as that file's."""
    lines = [
        f"  {json.dumps(name)}: {json.dumps(answer, separators=(',', ':'))}"
        for name, answer in answers.items()
    ]
    return f'{{"tool": {json.dumps(tool)},\n"files": {{\n' + ",\n".join(lines) + "\n}}\n"


if __name__ == "__main__":
    main()
