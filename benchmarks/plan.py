"""How much is measured: in full, or in three minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import clips
from benchmarks.timing import environment


@dataclass(frozen=True)
class Scale:
    """Numbers of runs, clips and shots (10 s each)."""

    rounds: int
    dense_shots: int
    many_clips: int
    many_shots: int  # in each
    full_hd_shots: int  # rendered; longer clips repeat them
    sparse_repeats: int
    memory_repeats: tuple[int, int]  # short and long file
    classify_clips: int


FULL = Scale(5, 30, 8, 6, 12, 5, (1, 30), 20)
QUICK = Scale(2, 4, 4, 1, 2, 6, (1, 6), 4)


@dataclass(frozen=True)
class Plan:
    """`folder` holds everything that is made; `work` in it is emptied again and again."""

    folder: Path
    scale: Scale

    @property
    def clips(self) -> Path:
        """Where the rendered clips lie."""
        return self.folder / "clips"

    @property
    def work(self) -> Path:
        """Where measured commands write."""
        return self.folder / "work"

    def environment(self, **extra: str | Path) -> dict[str, str]:
        """Return the variables that vmm runs under."""
        return environment(self.folder / "home", **extra)

    def hd(self, first: int, n: int) -> Path:
        """Return a 720p clip of `n` shots from shot `first` on."""
        parts = clips.shots(self.clips, clips.HD, first + n)[first:]
        name = f"hd_{first:02d}_{n * clips.SHOT_S}s.mp4"
        return clips.joined(self.clips / name, parts)

    def full_hd(self, repeats: int) -> Path:
        """Return a 1080p clip."""
        shots = clips.shots(self.clips, clips.FULL_HD, self.scale.full_hd_shots)
        seconds = len(shots) * repeats * clips.SHOT_S
        return clips.joined(self.clips / f"full_hd_{seconds}s.mp4", shots * repeats)


def length(path: Path) -> str:
    """Return a rendered clip's length as its name tells it: "5 min" or "40 s"."""
    seconds = int(path.stem.rpartition("_")[2].removesuffix("s"))
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:g} min"


def walls(times: dict[str, list[float]]) -> str:
    """Return the median wall time of each side in words."""
    return ", ".join(f"{name} {median(v):.2f} s" for name, v in times.items())
