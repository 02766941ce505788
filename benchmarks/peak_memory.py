"""What extract-frames takes, and that it does not take more for a longer file."""

from __future__ import annotations

from benchmarks import memory
from benchmarks.plan import Plan, length
from benchmarks.rows import Row, skipped
from benchmarks.timing import fresh, vmm_command

MEGABYTE = 10**6


def peak_memory(plan: Plan) -> list[Row]:
    """Take a picture each second out of a short and a long 1080p file with one worker."""
    if not memory.is_measurable():
        reason = "/proc/PID/smaps_rollup is not there"
        return [skipped(key, reason) for key in ("memory-growth", "memory-peak")]
    files = [plan.full_hd(repeats) for repeats in plan.scale.memory_repeats]
    peaks = []
    for path in files:
        output = fresh(plan.work)
        options = ("-o", output, "--jobs", "1", "--every", "1")
        command = [*vmm_command(), "extract-frames", path, *options]
        peaks.append(memory.peak_pss(command, env=plan.environment()) / MEGABYTE)
        print(f"  {length(path)}: {peaks[-1]:.1f} MB", flush=True)
        fresh(plan.work)
    short, long = files
    long.unlink()  # gigabytes
    samples = {length(path): [peak] for path, peak in zip(files, peaks, strict=True)}
    detail = f"{length(long)} and {length(short)} of 1080p, --every 1"
    growth = peaks[1] / peaks[0]
    return [
        Row("memory-growth", growth, growth, growth, 1, detail, samples=samples),
        Row("memory-peak", peaks[1], peaks[1], peaks[1], 1, detail, samples=samples),
    ]
