"""What an encoder made of one stream, on the video's clock: `Features`, or `Sets`.

>>> boxes = Sets(np.array([0.5, 1.0]), np.array([0, 2, 2]), np.zeros((2, 1)), ("score",))
Traceback (most recent call last):
ValueError: rows must be float32 [N, 1], got float64 [2, 1]
>>> found = Sets.of([0.5, 1.0], [np.zeros((2, 1)), np.zeros((0, 1))], ("score",))
>>> found, len(found), len(found.at(0)), len(found.at(1))
(Sets(2 rows of score at 2 times, 0.500 to 1.000 s), 2, 2, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Features:
    """Values at times; T may be 0: a stream can be absent.

    Attributes:
        times: float64 [T], seconds, ascending, none twice.
        values: float32 [T, D] or [T, C, H, W], or int64 [T] tokens.

    Raises:
        ValueError: shapes, dtypes or the order of times are others.
    """

    times: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        times, values = self.times, self.values
        _check_times(times)
        pictures = values.dtype == np.float32 and values.ndim in (2, 4)
        tokens = values.dtype == np.int64 and values.ndim == 1
        if not (pictures or tokens):
            raise ValueError(
                "values must be float32 [T, D] or [T, C, H, W] or int64 [T], "
                f"got {values.dtype} {list(values.shape)}"
            )
        if len(values) != len(times):
            raise ValueError(f"{len(times)} times but {len(values)} values")

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        return f"Features({self.values.dtype} {list(self.values.shape)}{_span(self.times)})"


@dataclass(frozen=True, eq=False)
class Sets:
    """At each time a set of any size, such as the boxes or the skeletons in a picture.

    T, the number of times, may be 0, and so may the size of a set: that nothing was found in a
    picture is told from a picture that nobody looked at.

    Attributes:
        times: float64 [T], seconds, ascending, none twice.
        offsets: int64 [T + 1], from 0 to N, ascending: of time i are the rows from `offsets[i]` to
            before `offsets[i + 1]`.
        rows: float32 [N, K], the members of all sets.
        columns: what the K numbers of a row are, in order; no name twice.

    Raises:
        ValueError: shapes, dtypes, the order of times or offsets, or the columns are others.
    """

    times: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        times, offsets, rows = self.times, self.offsets, self.rows
        _check_times(times)
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns must have names, none twice, got {self.columns}")
        width = len(self.columns)
        if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != width:
            raise ValueError(
                f"rows must be float32 [N, {width}], got {rows.dtype} {list(rows.shape)}"
            )
        if offsets.dtype != np.int64 or offsets.shape != (len(times) + 1,):
            raise ValueError(
                f"offsets must be int64 [{len(times) + 1}], "
                f"got {offsets.dtype} {list(offsets.shape)}"
            )
        if offsets[0] != 0 or offsets[-1] != len(rows) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must ascend from 0 to {len(rows)}, the number of rows")

    @classmethod
    def of(cls, times: Sequence[float], sets: Sequence[np.ndarray], columns: Sequence[str]) -> Sets:
        """Make it of a set for each time: [n, K] each; n may be 0. ValueError as above."""
        sizes = [len(members) for members in sets]
        rows = [np.empty((0, len(columns)), np.float32)]
        rows += [np.asarray(members, np.float32) for members in sets]
        return cls(
            np.array(times, np.float64),
            np.cumsum([0, *sizes], dtype=np.int64),
            np.concatenate(rows),
            tuple(columns),
        )

    def at(self, i: int) -> np.ndarray:
        """Return the set of time number i: a view, float32 [n, K]."""
        members: np.ndarray = self.rows[self.offsets[i] : self.offsets[i + 1]]
        return members

    def column(self, name: str) -> np.ndarray:
        """Return one number of each row: float32 [N]. ValueError where there is no such column."""
        if name not in self.columns:
            raise ValueError(f"no column {name!r}; there are {', '.join(self.columns)}")
        values: np.ndarray = self.rows[:, self.columns.index(name)]
        return values

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        names = ", ".join(self.columns)
        return f"Sets({len(self.rows)} rows of {names} at {len(self)} times{_span(self.times)})"


def _check_times(times: np.ndarray) -> None:
    if times.dtype != np.float64 or times.ndim != 1:
        raise ValueError(f"times must be float64 [T], got {times.dtype} {list(times.shape)}")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError("times must be finite and ascending")


def _span(times: np.ndarray) -> str:
    return f", {times[0]:.3f} to {times[-1]:.3f} s" if len(times) else ""


def join(parts: Sequence[Features]) -> Features:
    """Return the parts of one stream as a whole, in time order.

    A time that two parts share counts once: where a video is split, the picture on the border can
    be the answer to a wanted time on either side. ValueError if `parts` is empty.
    """
    if not parts:
        raise ValueError("there are no parts to join")
    times, first = np.unique(np.concatenate([p.times for p in parts]), return_index=True)
    return Features(times, np.concatenate([p.values for p in parts])[first])


def join_sets(parts: Sequence[Sets]) -> Sets:
    """Return the parts of one stream as a whole, as `join` does. ValueError if there are none."""
    if not parts:
        raise ValueError("there are no parts to join")
    at = {
        time: part.at(i) for part in reversed(parts) for i, time in enumerate(part.times.tolist())
    }
    times = sorted(at)
    return Sets.of(times, [at[time] for time in times], parts[0].columns)
