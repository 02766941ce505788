"""Which times of a video were wanted, as text that journals hold."""

from __future__ import annotations

from vmm_cli.media.sampling import Sampling


def sampling_text(wanted: Sampling) -> str:
    """Return what vmm 0.1 wrote of wanted times into what its records depend on.

    Such records are honoured as long as this text stays as it is; nothing new is written like it.
    A clip has no part in it: that follows from the model.
    """
    return (
        f"Sampling(kind={wanted.kind!r}, start={wanted.start!r}, end={wanted.end!r}, "
        f"step_s={wanted.step_s!r}, n={wanted.n!r}, offsets_s={wanted.offsets_s!r})"
    )
