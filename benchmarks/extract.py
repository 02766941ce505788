"""extract-frames beside the ffmpeg program."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean

from benchmarks.pictures import psnr_by_time
from benchmarks.plan import Plan, length, walls
from benchmarks.rows import Row, measured, skipped
from benchmarks.timing import alternate, fresh, ratios, read_ahead, run, vmm_command

DENSE_RATE = 5
DENSE = ("--fps", str(DENSE_RATE), "--size", "224")
# 16:9 at a shorter side of 224, the width even.
DENSE_SCALE = "scale=398:224"
QUALITY = ("-q:v", "3")
NO_FFMPEG = "ffmpeg is not installed"


def dense(plan: Plan) -> list[Row]:
    """One long clip, five pictures a second, small."""
    if shutil.which("ffmpeg") is None:
        return [skipped(key, NO_FFMPEG) for key in ("dense", "dense-psnr")]
    clip = plan.hd(0, plan.scale.dense_shots)
    read_ahead([clip])

    def ours() -> float:
        return vmm(plan, clip, *DENSE)

    def theirs() -> float:
        return ffmpeg(plan, clip, f"fps={DENSE_RATE},{DENSE_SCALE}")

    times = alternate({"vmm": ours, "ffmpeg": theirs}, plan.scale.rounds)
    about = f"{length(clip)} of 720p"
    values = _psnr(plan, clip)
    return [
        measured("dense", ratios(times["vmm"], times["ffmpeg"]), f"{about}; {walls(times)}", times),
        Row("dense-psnr", fmean(values), min(values), max(values), 1, f"{len(values)} pictures"),
    ]


def _psnr(plan: Plan, clip: Path) -> list[float]:
    """Compare the dense run's pictures with ffmpeg's of the same times.

    The fps filter as timed gives, for k / rate, a picture from up to half a step later; rounding
    up makes it give the one that is shown at k / rate, which is what vmm extracts.
    """
    ffmpeg(plan, clip, f"fps={DENSE_RATE}:round=up,{DENSE_SCALE}")
    reference = plan.folder / "reference"
    shutil.rmtree(reference, ignore_errors=True)
    plan.work.rename(reference)
    vmm(plan, clip, *DENSE)
    values = psnr_by_time(plan.work / clip.name, reference, DENSE_RATE)
    shutil.rmtree(reference)
    return values


def many(plan: Plan) -> list[Row]:
    """Several clips side by side."""
    if shutil.which("ffmpeg") is None:
        return [skipped("many", NO_FFMPEG)]
    each = plan.scale.many_shots
    paths = [plan.hd(number * each, each) for number in range(plan.scale.many_clips)]
    read_ahead(paths)
    folder = fresh(plan.folder / "many")
    for path in paths:
        (folder / path.name).hardlink_to(path)

    def ours() -> float:
        return vmm(plan, folder, *DENSE, "--jobs", "2")

    def theirs() -> float:
        fresh(plan.work)
        for path in paths:
            (plan.work / path.name).mkdir()
        command = _ffmpeg(folder / "{}", f"fps={DENSE_RATE},{DENSE_SCALE}", plan.work / "{}")
        names = "\n".join(path.name for path in paths)
        return run(["xargs", "-P2", "-I", "{}", *command], given=names)[0]

    times = alternate({"vmm": ours, "xargs ffmpeg": theirs}, plan.scale.rounds)
    shutil.rmtree(folder)
    detail = f"{len(paths)} clips of {length(paths[0])}, 720p; {walls(times)}"
    return [measured("many", ratios(times["vmm"], times["xargs ffmpeg"]), detail, times)]


def sparse(plan: Plan) -> list[Row]:
    """Few pictures out of a long clip: at keyframes, and between them."""
    if shutil.which("ffmpeg") is None:
        return [skipped(key, NO_FFMPEG) for key in ("sparse-keyframes", "sparse-between")]
    clip = plan.full_hd(plan.scale.sparse_repeats)
    read_ahead([clip])
    times = alternate(
        {
            "keyframes": lambda: vmm(plan, clip, "--every", "10"),
            "between": lambda: vmm(plan, clip, "--every", "10", "--start", "1.3"),
            "ffmpeg": lambda: ffmpeg(plan, clip, "fps=1/10"),
        },
        plan.scale.rounds,
    )
    about = f"{length(clip)} of 1080p"
    return [
        measured(
            f"sparse-{name}",
            ratios(times[name], times["ffmpeg"]),
            f"{about}; {walls({'vmm': times[name], 'ffmpeg': times['ffmpeg']})}",
            {"vmm": times[name], "ffmpeg": times["ffmpeg"]},
        )
        for name in ("keyframes", "between")
    ]


def vmm(plan: Plan, source: Path, *options: str) -> float:
    """Time extract-frames into the emptied work folder, in seconds."""
    command = [*vmm_command(), "extract-frames", source, "-o", fresh(plan.work), *options]
    return run(command, env=plan.environment())[0]


def ffmpeg(plan: Plan, clip: Path, filters: str) -> float:
    """Time the ffmpeg program into the emptied work folder, in seconds."""
    return run(_ffmpeg(clip, filters, fresh(plan.work)))[0]


def _ffmpeg(clip: Path, filters: str, folder: Path) -> list[str]:
    head = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(clip), "-vf", filters]
    return [*head, *QUALITY, str(folder / "%06d.jpg")]
