"""From a file that torchvision publishes to a bundle: labels, preprocessing, card, safetensors."""

from __future__ import annotations

import json
import pickle
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published import SUMMARIES, TORCHVISION, TorchvisionModel
from vmm_cli.engines.export import ExportError, graph_bytes
from vmm_cli.errors import ModelError
from vmm_cli.features.image import graph_of_bundle
from vmm_cli.features.image_stream import STREAM, tensor_prefix
from vmm_cli.features.torchvision_networks import Converted, Published, convert, published
from vmm_cli.files import atomic_file

TERMS = (
    "published with torchvision, whose README says that its pre-trained models may have licences "
    "or terms of their own, derived from the data set used for training"
)
UNKNOWN_TERMS = "not known: these are not the weights that torchvision publishes"
DATA = {
    "ImageNet-1K": "trained on ImageNet (ILSVRC 2012), whose pictures carry terms of their own",
    "Kinetics-400": "trained on Kinetics-400, clips of YouTube that carry terms of their own",
}


def make_bundle(name: str, file: Path, source: Mapping[str, str], folder: Path) -> Bundle:
    """Convert torchvision's file of a network of the table to a bundle in `folder`.

    source: what the bundle says of where the file came from: `file`, `sha256`, and `url` where it
    was downloaded.

    Raises:
        ModelError: the file holds something else.
        OutputError, OSError: the folder cannot be written.
    """
    row = published(name)
    try:
        converted = convert(name, read_state(file))
    except ValueError as error:
        raise ModelError(f"{file.name}: is not {name}: {error}") from None
    folder.mkdir(parents=True)
    is_original = row.url.rsplit("/", 1)[-1] == source["file"]
    write_text(folder / "CARD.md", card(name, row, source, is_original=is_original))
    write_text(folder / "recipe.yaml", recipe_text(name, source))
    if is_original:
        accuracy = {data: dict(numbers) for data, numbers in row.accuracy.items()}
        stated = {"stated_by_torchvision_percent": accuracy}
        write_text(folder / "metrics.json", json.dumps(stated, indent=2) + "\n")
    prefix = tensor_prefix(STREAM)
    tensors = {f"{prefix}{key}": value for key, value in converted.backbone.items()}
    tensors |= {"head.weight": converted.weight, "head.bias": converted.bias}
    return bundles.save(folder, _fields(name, row, converted, source, is_original), tensors)


def with_graph(bundle: Bundle) -> Bundle:
    """Write a bundle's graph, by which it runs without PyTorch, and return it with that.

    Raises:
        ModelError: the network cannot be written as one, or the weights are damaged.
        OSError: the folder cannot be written.
    """
    try:
        network = graph_of_bundle(bundle, bundle.encoders[STREAM].name)
        if network is None:
            raise ModelError(f"{bundle.folder}: holds no network of its own")
        return bundles.add_graphs(bundle, {STREAM: partial(graph_bytes, network)})
    except (ExportError, ValueError, RuntimeError, MemoryError) as error:
        # PyTorch says with a RuntimeError that there is not enough memory.
        raise ModelError(" ".join(str(error).split())[:500] or type(error).__name__) from error


def read_state(file: Path) -> dict[str, Tensor]:
    """Read a saved state dict, and nothing that could run code.

    Raises:
        ModelError: it is something else.
    """
    try:
        # Only files in torch's zip format can be mapped; some of torchvision's are older.
        loaded = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    except pickle.UnpicklingError:
        raise ModelError(
            f"{file.name}: refused: it holds something else than plain weights"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{file.name}: is not readable as weights of PyTorch: {reason}") from None
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise ModelError(f"{file.name}: holds no weights by their names")
    return dict(loaded)


def card(name: str, row: Published, source: Mapping[str, str], *, is_original: bool) -> str:
    """Return a bundle's CARD.md. is_original: the file is the one that torchvision names."""
    model = TORCHVISION[name]
    if is_original:
        origin = f"`{model.weights}` of torchvision, {row.url}. How they were trained: {row.recipe}"
        accuracy = "Stated by torchvision, not measured here: " + "; ".join(
            f"{data} {', '.join(f'{key} {value:g} %' for key, value in numbers.items())}"
            for data, numbers in row.accuracy.items()
        )
        terms = f"{TERMS}. It is for you to determine whether you may use them."
        data = f"{DATA[model.data]}; they are not part of this bundle."
    else:
        origin = (
            f"Given by the user in place of `{model.weights}` of torchvision, {row.url}: vmm "
            "knows nothing of how these weights were trained."
        )
        accuracy = "Not known: these are not torchvision's weights."
        terms = data = "not known."
    where = f"downloaded from {source['url']}" if "url" in source else "read from a file"
    lines = [
        f"# {name}: {SUMMARIES[model.data]}",
        f"**For** labels by `vmm classify --model {name}`, and as a frozen encoder of other models "
        f"({model.width} numbers a {model.kind}).",
        f"**Not for** anything outside its {len(row.labels)} labels: what fits none of them still "
        "gets some. Not for decisions about people.",
        "## What it is",
        _what_it_is(model),
        "## Source",
        origin,
        f"- file: `{source['file']}`, {where}",
        f"- SHA-256 of the file: `{source['sha256']}`",
        "Changed here: split into network and head, counters of training batches dropped, stored "
        "as safetensors in fp32.",
        "## Accuracy",
        accuracy,
        "## Licence and notices",
        "- code of the network: torchvision, BSD 3-Clause, Copyright (c) Soumith Chintala 2016",
        f"- weights: {terms}",
        "- labels: torchvision's, BSD 3-Clause",
        f"- data: {data}",
    ]
    return as_card(lines)


def as_card(lines: Sequence[str]) -> str:
    """Return a CARD.md of its paragraphs; those that begin with "- " are lists."""
    return "\n\n".join(map(wrapped, lines)).replace("\n\n- ", "\n- ") + "\n"


def wrapped(text: str) -> str:
    """Return a paragraph of a card, or a line of a list in one."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _what_it_is(model: TorchvisionModel) -> str:
    numbers = model.preprocess
    if "width" in numbers:
        scaled = f"scaled to {numbers['width']} x {numbers['short_side']} pixels"
    else:
        scaled = f"scaled to a shorter side of {numbers['short_side']} pixels"
    scaled += f" as torchvision does, the central {numbers['crop']} pixels square are cut out."
    if model.kind == "picture":
        return (
            f"Pictures are {scaled} A label's score is the mean of its softmax probability over "
            f"the sampled pictures, by default one each {model.every_s:g} s."
        )
    length = numbers["frames"] / numbers["rate_hz"]
    return (
        f"Clips of {numbers['frames']} pictures, {numbers['rate_hz']:g} a second: {length:.2f} s. "
        f"The pictures are {scaled} A label's score is the mean of its softmax probability over "
        f"the clips, of which by default one begins each {model.every_s:g} s. The last picture is "
        "repeated where the video ends within a clip."
    )


def _fields(
    name: str,
    row: Published,
    converted: Converted,
    source: Mapping[str, str],
    is_original: bool,
) -> dict[str, Any]:
    model = TORCHVISION[name]
    preprocess = dict(model.preprocess)
    return {
        "name": name,
        "version": 1,
        "summary": SUMMARIES[model.data],
        "task": "classes",
        "streams": ["image"],
        "encoders": {
            "image": {
                "name": name,
                "sha256": bundles.encoder_digest(name, preprocess, converted.backbone),
                "preprocess": preprocess,
            }
        },
        "network": {"head": "linear", "pool": "mean-probability"},
        "sampling": {"every_s": model.every_s, "free": True},
        "thresholds": {},
        "licence": {
            "code": "BSD-3-Clause (torchvision)",
            "weights": TERMS if is_original else UNKNOWN_TERMS,
            "labels": "BSD-3-Clause (torchvision)",
            "data": DATA[model.data] if is_original else UNKNOWN_TERMS,
        },
        "source": dict(source),
        "labels": list(row.labels),
    }


def recipe_text(name: str, source: Mapping[str, str]) -> str:
    """Return the recipe.yaml of a model that was fetched."""
    import yaml

    text: str = yaml.safe_dump(
        {"command": f"vmm models fetch {name}", "source": dict(source)}, sort_keys=False
    )
    return f"# Not trained here: converted from published weights.\n{text}"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_file(path) as file:
        file.write(text)
