"""How often `moderation` calls explicit what is not: models/moderation/CARD.md.

    python -m benchmarks.moderation

Frames of clips of $VMM_DATA, one each second and four of a clip at most, and its pictures (scaled
by Pillow). None of them is explicit. Prints how many reach a score, by where they are from, and the
highest score.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from vmm_cli import bundles
from vmm_cli.errors import InputError
from vmm_cli.features.catalogue import load_image_encoder
from vmm_cli.features.clips import iter_prepared
from vmm_cli.features.image_encoder import ImageEncoder, encode
from vmm_cli.features.preprocess import Preprocess, central_square
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video

FILES = {
    "COCO pictures": "pictures/images/*",
    "fights (surveillance)": "fights/clips/*",
    "falls (indoors)": "falls/videos/*.mp4",
    "overhead": "overhead/videos/*",
    "talking heads": "talking_heads/*.mpg",
    "odd media": "odd_media/*/*",
}
SCORES = (0.2, 0.5, 0.8)
OF_A_CLIP = 4


def main() -> None:
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds pictures/, fights/ and more")
    data = Path(os.environ["VMM_DATA"])
    model = bundles.read(bundles.find("moderation"))
    encoder = load_image_encoder(model, "cpu")
    head = bundles.load_tensors(model, "head.")
    print("| | frames | " + " | ".join(f"{score:g} or more" for score in SCORES) + " | highest |")
    print("| --- " * (3 + len(SCORES)) + "|")
    for name, pattern in FILES.items():
        scores: list[float] = []
        highest = ""
        for path in sorted(data.glob(pattern)):
            found = of_file(encoder, head, path)
            if found and max(found) > max(scores, default=0):
                highest = path.relative_to(data).as_posix()
            scores += found
        counts = " | ".join(str(sum(one >= score for one in scores)) for score in SCORES)
        print(f"| {name} | {len(scores)} | {counts} | {max(scores):.3f}, `{highest}` |", flush=True)


def of_file(encoder: ImageEncoder, head: dict[str, np.ndarray], path: Path) -> list[float]:
    """Return the scores of `explicit` of a file's first frames; none where it has none."""
    try:
        pictures = np.stack(list(islice(frames(encoder.preprocess, path), OF_A_CLIP)))
    except (InputError, OSError, ValueError):
        return []
    logits = encode(encoder, pictures) @ head["weight"].T + head["bias"]
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return [float(one) for one in exponent[:, 1] / exponent.sum(axis=1)]


def frames(numbers: Preprocess, path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, or the one picture: uint8 [224, 224, 3] each."""
    if path.suffix == ".jpg":
        size = (numbers.short_side, numbers.short_side)
        with Image.open(path) as picture:
            scaled = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        yield central_square(np.asarray(scaled), numbers.crop)
        return
    report = DecodeReport()
    for _, image in iter_prepared(Video(path), numbers, every(1), until=None, report=report):
        yield image


if __name__ == "__main__":
    main()
