"""How soon something happens."""

from __future__ import annotations

from benchmarks.extract import DENSE
from benchmarks.plan import Plan
from benchmarks.rows import Row, measured
from benchmarks.timing import alternate, fresh, run, until_file, vmm_command


def startup(plan: Plan) -> list[Row]:
    """Time the help page, and extract-frames until its first picture is on the disk."""
    clip = plan.hd(0, plan.scale.dense_shots)
    env = plan.environment()

    def first_picture() -> float:
        command = [*vmm_command(), "extract-frames", clip, "-o", fresh(plan.work), *DENSE]
        return until_file(command, plan.work, ".jpg", env=env)

    def show_help() -> float:
        return run([*vmm_command(), "--help"], env=env)[0]

    times = alternate({"help": show_help, "first picture": first_picture}, plan.scale.rounds)
    return [
        measured("help", times["help"], "process start and end included", times),
        measured("first-picture", times["first picture"], "720p, the dense run", times),
    ]
