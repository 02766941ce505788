"""What happened while a video was decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmm_cli.media.damage import Gap


@dataclass(slots=True)
class DecodeReport:
    """What happened while decoding; complete once the iterator has ended.

    passed_over: packets that were read and not decoded, as nothing wanted them. duration_s: what
    the file declares (None: nothing); end_s: where the last picture seen ends; both in seconds on
    the clock. past_end: per request the wanted times (seconds) at which the video has nothing to
    show. gaps: stretches whose pictures could not be decoded, where they were wanted.
    """

    decoded: int = 0
    passed_over: int = 0
    skipped_packets: int = 0
    duration_s: float | None = None
    end_s: float | None = None
    past_end: dict[str, list[float]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
