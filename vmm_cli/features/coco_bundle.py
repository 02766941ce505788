"""From a file of a detector or a segmentation network of torchvision to a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published_coco import COCO, MASKS, CocoModel
from vmm_cli.engines.export import ExportError, Network, graph_bytes
from vmm_cli.errors import ModelError
from vmm_cli.features import segmentation
from vmm_cli.features.coco_networks import NO_KIND, convert, kinds_to_export
from vmm_cli.features.torchvision_bundle import (
    TERMS,
    UNKNOWN_TERMS,
    as_card,
    read_state,
    recipe_text,
    write_text,
)
from vmm_cli.features.torchvision_networks import Published, published_as

# From which score on vmm tells an object: their scores are probabilities among all labels.
LEAST_SCORE = 0.5
PICTURES_EVERY_S = 0.5
EXAMPLE = (2, 128, 192, 3)  # what a graph is written and tried with
DATA = {
    "objects": "trained on COCO, whose pictures carry terms of their own",
    "masks": "trained on a part of COCO, whose pictures carry terms of their own",
}
# Pascal VOC's names, in the words that COCO has for the same.
VOC_AS_COCO = {
    "__background__": segmentation.BACKGROUND,
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def make_bundle(name: str, file: Path, source: Mapping[str, str], folder: Path) -> Bundle:
    """Convert a file of the table `COCO` to a bundle; see `torchvision_bundle.make_bundle`."""
    row = COCO[name]
    said = published_as(row.weights)
    try:
        tensors = convert(name, read_state(file))
    except ValueError as error:
        raise ModelError(f"{file.name}: is not {name}: {error}") from None
    folder.mkdir(parents=True)
    is_original = row.file == source["file"]
    write_text(folder / "CARD.md", card(name, said, source, is_original=is_original))
    write_text(folder / "recipe.yaml", recipe_text(name, source))
    if is_original:
        accuracy = {data: dict(numbers) for data, numbers in said.accuracy.items()}
        stated = {"stated_by_torchvision_percent": accuracy}
        write_text(folder / "metrics.json", json.dumps(stated, indent=2) + "\n")
    return bundles.save(folder, _fields(name, row, said, source, is_original), tensors)


def with_graph(bundle: Bundle) -> Bundle:
    """Write the graph of a segmentation network; see `torchvision_bundle.with_graph`."""
    try:
        network = kinds_to_export(bundle.network["kind"], bundles.load_tensors(bundle))
        draw = np.random.default_rng(0)
        example = torch.from_numpy(draw.integers(0, 256, EXAMPLE, np.uint8))
        made = Network(
            network,
            {segmentation.PICTURES: example},
            [segmentation.SCORES],
            {segmentation.PICTURES: [0, 1, 2]},
            lambda key: key.removeprefix("network."),
            traced=True,
        )
        return bundles.add_graphs(bundle, {MASKS: partial(graph_bytes, made)})
    except (ExportError, ValueError, RuntimeError, MemoryError) as error:
        # PyTorch says with a RuntimeError that there is not enough memory.
        raise ModelError(" ".join(str(error).split())[:500] or type(error).__name__) from error


def labels_of(row: CocoModel, said: Published) -> list[str]:
    """Return the labels of a bundle, in the order of what the network tells."""
    if row.task == MASKS:
        return [VOC_AS_COCO.get(label, label) for label in said.labels]
    return [label for label in said.labels if label not in NO_KIND]


def card(name: str, said: Published, source: Mapping[str, str], *, is_original: bool) -> str:
    """Return a bundle's CARD.md. is_original: the file is the one that torchvision names."""
    row = COCO[name]
    if is_original:
        origin = f"`{row.weights}` of torchvision, {said.url}. How they were trained: {said.recipe}"
        accuracy = "Stated by torchvision, not measured here: " + "; ".join(
            f"{data} {', '.join(f'{key} {value:g} %' for key, value in numbers.items())}"
            for data, numbers in said.accuracy.items()
        )
        terms = f"{TERMS}. It is for you to determine whether you may use them."
        data = f"{DATA[row.task]}; they are not part of this bundle."
    else:
        origin = (
            f"Given by the user in place of `{row.weights}` of torchvision, {said.url}: vmm knows "
            "nothing of how these weights were trained."
        )
        accuracy = "Not known: these are not torchvision's weights."
        terms = data = "not known."
    where = f"downloaded from {source['url']}" if "url" in source else "read from a file"
    option = "--segment" if row.task == MASKS else "--model"
    with_poses = ", with `--pose` also for the poses of people" if row.points else ""
    return as_card(
        [
            f"# {name}: {row.summary}",
            f"**For** `vmm detect-objects {option} {name}`{with_poses}.",
            f"**Not for** anything outside {_known(row)}. Not for decisions about people.",
            "## What it is",
            _what_it_is(row),
            "## Source",
            origin,
            f"- file: `{source['file']}`, {where}",
            f"- SHA-256 of the file: `{source['sha256']}`",
            "Changed here: counters of training batches and what serves training alone dropped, "
            "stored as safetensors in fp32.",
            "## Accuracy",
            accuracy,
            "## Licence and notices",
            "- code of the network: torchvision, BSD 3-Clause, Copyright (c) Soumith Chintala 2016",
            f"- weights: {terms}",
            "- labels: torchvision's, BSD 3-Clause",
            f"- data: {data}",
        ]
    )


def _known(row: CocoModel) -> str:
    if row.task == MASKS:
        return "the 20 kinds that it knows, which are Pascal VOC's in the words of COCO"
    return f"its {row.labels} labels" if row.labels > 1 else "people"


def _what_it_is(row: CocoModel) -> str:
    if row.squashed:
        scaled = f"scaled to {row.short_side} x {row.short_side} pixels, whatever their aspect,"
    else:
        scaled = (
            f"scaled to a shorter side of {row.short_side} pixels, or a longer one of "
            f"{row.long_side} where that is smaller,"
        )
    if row.task == MASKS:
        return (
            f"Pictures are {scaled} as torchvision does. Each part of a picture is of the kind "
            "that scores highest there."
        )
    return (
        f"Pictures are {scaled} as torchvision does. Thresholds of suppression are torchvision's; "
        f"an object is told from a score of {LEAST_SCORE} on, which was not calibrated."
    )


def _fields(
    name: str, row: CocoModel, said: Published, source: Mapping[str, str], is_original: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "version": 1,
        "summary": row.summary,
        "task": row.task,
        "streams": [row.task],
        "encoders": {},
        "network": row.network(name),
        "sampling": {"every_s": PICTURES_EVERY_S, "free": True},
        "thresholds": {} if row.task == MASKS else {"score": LEAST_SCORE},
        "licence": {
            "code": "BSD-3-Clause (torchvision)",
            "weights": TERMS if is_original else UNKNOWN_TERMS,
            "labels": "BSD-3-Clause (torchvision)",
            "data": DATA[row.task] if is_original else UNKNOWN_TERMS,
        },
        "source": dict(source),
        "labels": labels_of(row, said),
    }
