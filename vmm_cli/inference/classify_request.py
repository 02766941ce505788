"""What is wanted of a model that looks at pictures. It loads nothing that works on them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vmm_cli.errors import ModelError
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.sampling import Sampling, every
from vmm_cli.tasks import TAGS, run_by

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle


@dataclass(frozen=True)
class ClassifyRequest:
    """What is wanted of every input; see `classify_request`.

    Attributes:
        bundle: folder of the model; bundle_digest: `Bundle.digest` of what was resolved.
        sampling: which pictures.
        windows_s: length of a timeline's windows in seconds; None: the whole video at once.
        use_store: whether the feature store is read and written.
    """

    bundle: Path
    bundle_digest: str
    sampling: Sampling
    top_k: int = 5
    windows_s: float | None = None
    use_store: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS
    tells_sources: ClassVar[bool] = False


def sees_windows(bundle: Bundle) -> bool:
    """Tell whether a model for classes sees windows of several streams, and not pictures alone."""
    return bundle.task == "classes" and bundle.network.get("kind") == "fusion"


def hears_sounds(bundle: Bundle) -> bool:
    """Tell whether a model for classes hears patches of sound, and sees nothing."""
    return bundle.task == "classes" and bundle.network.get("kind") == "sound-events"


def joins_networks(bundle: Bundle) -> bool:
    """Tell whether a model for classes makes one list of what several networks see and hear."""
    return bundle.task == "classes" and bundle.network.get("kind") == TAGS


def classify_request(
    bundle: Bundle,
    *,
    start: float | Fraction = 0,
    end: float | Fraction | None = None,
    top_k: int = 5,
    use_store: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> ClassifyRequest:
    """Return what is wanted of every input with the model's own step from picture to picture.

    Raises:
        ModelError: the model does not classify.
    """
    if bundle.task != "classes":
        raise ModelError(
            f"model {bundle.name!r} is for {bundle.task}, not for classes; {run_by(bundle.task)}"
        )
    if joins_networks(bundle):
        raise ModelError(f"model {bundle.name!r} joins networks; only `vmm classify` runs it")
    if hears_sounds(bundle):
        raise ModelError(f"model {bundle.name!r} hears sounds; only `vmm classify` runs it")
    if bundle.network.get("pool") != "mean-probability" or not bundle.labels:
        raise ModelError(f"model {bundle.name!r} has a network this vmm cannot run")
    numbers_of(bundle)  # says now, not for each video, what is wrong with them
    # Via str: 0.1 means one tenth, not the nearest binary fraction.
    step_s = Fraction(str(bundle.sampling.every_s))
    return ClassifyRequest(
        bundle=bundle.folder.resolve(),
        bundle_digest=bundle.digest,
        sampling=every(step_s, start=start, end=end),
        top_k=top_k,
        use_store=use_store,
        max_pixels=max_pixels,
    )


def numbers_of(bundle: Bundle) -> Preprocess:
    """Return with which numbers pictures are prepared. ModelError where they are none."""
    try:
        return Preprocess.from_dict(bundle.encoders["image"].preprocess)
    except KeyError:
        raise ModelError(f"model {bundle.name!r} has no encoder for pictures") from None
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r}: its image encoder is unusable: {error}") from None
