"""The program in an exported folder: it shows how the model is run, without vmm and PyTorch.

It prepares pictures as vmm does (`vmm_cli.features.preprocess`, `vmm_cli.features.clips`), which
tests hold it to. What a damaged or odd file needs beyond that, it does not do.
"""

from __future__ import annotations

from vmm_cli.exports.network import Exportable

MAX_LINES = 60

_PROGRAM = '''\
"""What a video shows: python example.py VIDEO. Needs: pip install {package} numpy av"""

import json
import sys
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
import {module}

HERE = Path(__file__).resolve().parent
HOW = json.loads((HERE / "preprocessing.json").read_text("utf-8"))
LABELS = (HERE / "labels.txt").read_text("utf-8").split("\\n")
CROP, EVERY, TIMES = HOW["crop"], HOW["every_s"], np.array(HOW["times_s"])
{load}


{prepared}


def looks(path):
    """Return pictures, and which of them each look is at."""
    seen = {{}}  # by the seconds at which they begin
    with av.open(path) as container:
        stream = container.streams.best("video")
        start = (container.start_time or 0) / av.time_base
        for frame, after in pairwise(chain(container.decode(stream), [None])):
            begin = float(frame.pts * frame.time_base) - start
            end = begin + float(frame.duration * frame.time_base)  # where nothing comes after it
            if after is not None:
                end = float(after.pts * after.time_base) - start
            nth = np.maximum(np.ceil((begin - 1e-6 - TIMES) / EVERY), 0)
            if not seen or (nth * EVERY + TIMES < end - 1e-6).any():  # shown at a wanted time
                seen[begin] = prepared(frame, float(stream.sample_aspect_ratio or 1))
{places}


seen, places = looks(sys.argv[1])
scores = np.mean([run(seen[place][None])[0] for place in places], axis=0)
for label in np.argsort(-scores, kind="stable")[:5]:
    print(f"{{scores[label]:.5f}}  {{LABELS[label]}}")
'''

_PICTURES = """\
    wanted = np.arange(0, end - 1e-6, EVERY)
    place = np.maximum(np.searchsorted(list(seen), wanted + 1e-6, side="right") - 1, 0)
    return np.stack(list(seen.values())), np.unique(place)\
"""

_CLIPS = """\
    wanted = np.arange(0, end - 1e-6, EVERY)[:, None] + TIMES  # [N, T]
    wanted = np.maximum.accumulate(np.where(wanted < end - 1e-6, wanted, 0), axis=1)
    place = np.maximum(np.searchsorted(list(seen), wanted + 1e-6, side="right") - 1, 0)
    return np.stack(list(seen.values())), place\
"""

# Windows go on until one reaches the end, and have nothing behind that.
_WINDOWS = """\
    begins = np.arange(max(1, np.ceil((end - HOW["window_s"] - 1e-3) / EVERY) + 1)) * EVERY
    wanted = begins[:, None] + TIMES  # [N, T]
    place = np.maximum(np.searchsorted(list(seen), wanted + 1e-3, side="right") - 1, 0)
    return np.stack(list(seen.values())), [p[w < end - 1e-3] for p, w in zip(place, wanted)]\
"""

_BY_DECODER = """\
def prepared(frame, aspect):  # what the network sees of a picture: uint8 [CROP, CROP, 3] RGB
    sides = frame.width * aspect, frame.height
    scaled = [2 * round(HOW["short_side"] / min(sides) * side / 2) for side in sides]
    width, height = HOW["size"][::-1] if HOW["size"] else scaled
    image = frame.reformat(width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
    image = np.rot90(image, frame.rotation // 90)
    top, left = ((side - CROP) // 2 for side in image.shape[:2])
    return image[top : top + CROP, left : left + CROP]\
"""

# As torchvision scales, which is as PyTorch does: each pixel is a weighted mean of those near it.
_AS_TORCHVISION = """\
def prepared(frame, aspect):  # what the network sees of a picture: uint8 [CROP, CROP, 3] RGB
    wide = round(frame.width * aspect)
    image = frame.reformat(wide, frame.height, "rgb24", interpolation="BICUBIC").to_ndarray()
    image = np.rot90(image, frame.rotation // 90)
    sizes = image.shape[:2]
    scaled = HOW["size"] or [HOW["short_side"] * size // min(sizes) for size in sizes]
    for old, new in zip(sizes, scaled):  # each pixel becomes a weighted mean of those near it
        reach = max(old / new, 1) if HOW["resize"] == "antialias" else 1
        centres = (np.arange(CROP) + round((new - CROP) / 2) + 0.5) * old / new
        near = np.maximum(0, 1 - abs(np.arange(old) + 0.5 - centres[:, None]) / reach)
        image = np.tensordot(image, near / near.sum(axis=1, keepdims=True), (0, 1))
    return np.rint(image.transpose(1, 2, 0)).astype(np.uint8)  # from [3, CROP, CROP]\
"""


def program(model: Exportable, package: str, load: str) -> str:
    """Return the program of a model.

    Args:
        model: what it looks at, and when.
        package: what its runtime is called, to pip and to Python.
        load: lines that define `run`: uint8 [N, *model.numbers.shape] -> float32 [N, L].
    """
    numbers = model.numbers
    prepared = _BY_DECODER if numbers.resize == "decoder" else _AS_TORCHVISION
    places = _PICTURES if numbers.frames == 1 else _CLIPS
    return _PROGRAM.format(
        package=package,
        module=package,
        load=load,
        prepared=prepared,
        places=places if model.window_s is None else _WINDOWS,
    )
