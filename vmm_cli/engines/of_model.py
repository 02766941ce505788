"""Which engine runs a model's networks on a CPU, and why, as far as its files say."""

from __future__ import annotations

from dataclasses import dataclass

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published import FETCHABLE, TORCHVISION
from vmm_cli.bundles.published_coco import COCO
from vmm_cli.engines import choice
from vmm_cli.errors import ModelError
from vmm_cli.tasks import TAGS, USUAL


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs a model on a CPU: `choice.TORCH` or `choice.ONNXRUNTIME`, and why."""

    name: str
    why: str


def engine_of(bundle: Bundle) -> Engine:
    """Return what runs a model on a CPU; `vmm doctor` says whether the runtime is there.

    Raises:
        UsageError: $VMM_ENGINE is no engine.
    """
    if choice.chosen_engine() == choice.TORCH:
        return Engine(choice.TORCH, f"{choice.VARIABLE} is {choice.TORCH}")
    if bundle.network.get("kind") == TAGS:
        return Engine(choice.ONNXRUNTIME, "the networks that it joins have graphs")
    if bundle.network.get("kind") == USUAL and not _fetched(bundle):
        return Engine(choice.ONNXRUNTIME, "it has no network, and those it looks with have graphs")
    slower = [name for name in _fetched(bundle) if not FETCHABLE[name].as_graph]
    if slower:
        return Engine(choice.TORCH, f"{slower[0]} has no graph: PyTorch is what runs it best")
    name = _without_graph(bundle)
    if name is not None:
        return Engine(choice.TORCH, f"{name} has no graph; `vmm models fetch {name}` writes it")
    if not bundle.graphs and not _fetched(bundle):
        return Engine(choice.TORCH, "it was saved without graphs of its networks")
    return Engine(choice.ONNXRUNTIME, "its networks have graphs")


def remark_on_graph(bundle: Bundle) -> str | None:
    """Return how a model would run without PyTorch, where `vmm models fetch` cares for that."""
    name = None if choice.chosen_engine() == choice.TORCH else _without_graph(bundle)
    if name is None:
        return None
    return f"PyTorch runs {name}, which has no graph; `vmm models fetch {name}` writes it"


def _without_graph(bundle: Bundle) -> str | None:
    """Return the network to be fetched that a model sees with and that has no graph.

    One counts where the network's name leads alone: see `features.image_stream`.
    """
    own = _own(bundle)
    if own is not None and COCO[own].as_graph and not bundle.graphs:
        return own
    for spec in bundle.encoders.values():
        if spec.name not in TORCHVISION or not TORCHVISION[spec.name].as_graph:
            continue
        try:
            known = bundles.read(bundles.find(spec.name))
        except ModelError:
            return spec.name
        if not known.graphs or spec.digest not in {one.digest for one in known.encoders.values()}:
            return spec.name
    return None


def _fetched(bundle: Bundle) -> list[str]:
    """Return the networks of a model that can be fetched."""
    own = _own(bundle)
    encoders = [spec.name for spec in bundle.encoders.values() if spec.name in TORCHVISION]
    return encoders if own is None else [*encoders, own]


def _own(bundle: Bundle) -> str | None:
    """Return which detector or segmentation network a model is; None: another model."""
    kind = str(bundle.network.get("kind"))
    return kind if kind in COCO else None
