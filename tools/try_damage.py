"""Damage small files of ten formats at random and run vmm on them: what comes of each is counted.

python tools/try_damage.py FOLDER [--each N] [--seed N]: N mutants of each format are written to
FOLDER and go through `vmm info`, `vmm extract-frames --count 3` and `vmm classify --count 3`. Bits
are flipped, bytes overwritten, stretches cut out, doubled or zeroed, and ends cut off. Exits with 1
where a command ended by itself, a record is missing or says `internal`, or a process took more
than 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# Container, codec of pictures, codec of sound.
FORMATS = (
    ("mp4", "libx264", "aac"),
    ("mov", "mjpeg", "pcm_s16le"),
    ("mkv", "libx265", "ac3"),
    ("webm", "libvpx-vp9", "libopus"),
    ("avi", "mpeg4", "libmp3lame"),
    ("ts", "libx264", "mp2"),
    ("mpg", "mpeg2video", "mp2"),
    ("flv", "flv", "libmp3lame"),
    ("wmv", "wmv2", "wmav2"),
    ("gif", "gif", None),
)
COMMANDS = (
    ("info",),
    ("extract-frames", "-o", "frames", "--count", "3"),
    ("classify", "--count", "3", "--no-store"),
)
QUIET = {"libx265": {"x265-params": "log-level=none"}}
MOST_BYTES = 10**9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=300, help="mutants of each format")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.folder.resolve()
    mutants = folder / "mutants"
    mutants.mkdir(parents=True)
    for suffix, pictures, sound in FORMATS:
        whole = folder / f"whole.{suffix}"
        render(whole, pictures, sound)
        for number in range(options.each):
            rng = random.Random(f"{options.seed} {suffix} {number}")
            content = bytearray(whole.read_bytes())
            for _ in range(rng.choice((1, 1, 2, 5))):
                rng.choice(DAMAGES)(content, rng)
            (mutants / f"{number:05d}.{suffix}").write_bytes(content)
    well = [run(folder, command) for command in COMMANDS]
    return 0 if all(well) else 1


def render(target: Path, picture_codec: str, sound_codec: str | None) -> None:
    """Write two seconds of moving bars and a tone."""
    with av.open(os.fspath(target), "w") as output:
        pictures = output.add_stream(picture_codec, rate=25, options=QUIET.get(picture_codec))
        pictures.width, pictures.height = 160, 120
        pictures.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(picture_codec, "yuv420p")
        sound = None
        if sound_codec is not None:
            sound = output.add_stream(sound_codec, rate=48000, layout="mono")
            sound.bit_rate = 64000
        for number in range(50):
            image = np.zeros((120, 160, 3), np.uint8)
            image[:, number * 3 : number * 3 + 12] = (200, 120, number * 5)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(pictures.encode(frame.reformat(format=pictures.pix_fmt)))
        output.mux(pictures.encode())
        if sound is not None:
            times = np.arange(96000) / 48000
            tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            samples.rate, samples.pts = 48000, 0
            fifo = av.AudioFifo()
            resampler = av.AudioResampler(sound.format, sound.layout, 48000)
            for part in resampler.resample(samples):
                fifo.write(part)
            while part := fifo.read(sound.frame_size or 1024, partial=True):
                output.mux(sound.encode(part))
            output.mux(sound.encode())


def flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 10, 100))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_at_an_end(content: bytearray, rng: random.Random) -> None:
    """Where containers keep what they say of the rest."""
    near = min(len(content), 1000)
    for _ in range(rng.choice((1, 3, 10))):
        place = rng.randrange(near)
        content[place if rng.random() < 0.6 else -1 - place] = rng.randrange(256)


def large_number(content: bytearray, rng: random.Random) -> None:
    place = rng.randrange(max(1, min(len(content), 3000) - 4))
    content[place : place + 4] = rng.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4))


def stretch(content: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(content))
    return slice(start, start + rng.choice((1, 16, 188, 1000, 5000)))


def cut_out(content: bytearray, rng: random.Random) -> None:
    if len(content) > 6000:
        del content[stretch(content, rng)]


def double(content: bytearray, rng: random.Random) -> None:
    place = stretch(content, rng)
    content[place.start : place.start] = content[place]


def zero(content: bytearray, rng: random.Random) -> None:
    place = stretch(content, rng)
    content[place] = bytes(len(content[place]))


def cut_off(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(1, len(content)) :]


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    flip_at_an_end,
    large_number,
    cut_out,
    double,
    zero,
    cut_off,
)


def run(folder: Path, command: tuple[str, ...]) -> bool:
    """Run one command on all mutants, say what came of it, and return whether all is well."""
    inputs = sum(1 for _ in (folder / "mutants").iterdir())
    listed = folder / f"{command[0]}.inputs"
    names = sorted(os.fspath(path) for path in (folder / "mutants").iterdir())
    listed.write_text("".join(f"{name}\n" for name in names))
    vmm = (sys.executable, "-m", "vmm_cli", *command, "--files-from", os.fspath(listed))
    records = folder / f"{command[0]}.jsonl"
    said = folder / f"{command[0]}.stderr"
    with records.open("wb") as out, said.open("wb") as err:
        process = subprocess.Popen(
            (*vmm, "--format", "jsonl"), stdout=out, stderr=err, cwd=folder, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    outcomes = Counter(
        record.get("error", {}).get("code", "ok")
        for record in map(json.loads, records.read_text().splitlines())
    )
    most = usage.ru_maxrss * 1024  # of vmm and of each of its workers
    counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    print(
        f"{command[0]}: {inputs} mutants, exit code {code}, at most {most / 1e6:.0f} MB: {counts}"
    )
    whole = outcomes.total() == inputs and "internal" not in outcomes
    return code in (0, 3) and whole and most <= MOST_BYTES


if __name__ == "__main__":
    sys.exit(main())
