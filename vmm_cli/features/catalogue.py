"""Every encoder by name, a row each. Nothing is loaded until it is asked for.

This is the one place that names encoders: recipes, plans, the feature store and the documents read
the rows. CONTRIBUTING.md says how one is added.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.errors import ModelError
from vmm_cli.features import log_mel, object_stream, people_stream, sounds
from vmm_cli.features.encoder import (
    OF_FEATURES,
    Encoder,
    OfFrames,
    OfSightings,
    OfSound,
    OfText,
    versioned,
)
from vmm_cli.features.face_stream import FacePictures, face_compute, face_spec
from vmm_cli.features.image_stream import (
    LITE0_WIDTH,
    Pictures,
    image_compute,
    image_spec,
    load_encoder,
)
from vmm_cli.features.motion import MOTION_VERSION
from vmm_cli.features.motion_energy import CELLS, ENERGY_VERSION, GRID, EnergyPictures
from vmm_cli.features.motion_stream import Crops, crops_compute, crops_spec
from vmm_cli.features.text_stream import meaning, meaning_spec
from vmm_cli.features.voice_stream import voice_features, voice_spec
from vmm_cli.networks.pretrained.shapes import NSFW_WIDTH, SOUND_WIDTH

if TYPE_CHECKING:
    from vmm_cli.bundles import Bundle
    from vmm_cli.engines.export import Network
    from vmm_cli.features.image_encoder import ImageEncoder

_image = partial(
    Encoder,
    stream="image",
    runs=OfFrames(Pictures, image_compute),
    spec=image_spec,
    holds="next",
)
_crops = partial(
    Encoder,
    stream="motion",
    runs=OfFrames(Crops, crops_compute),
    spec=crops_spec,
    version=MOTION_VERSION,
    weights="imagenet",
    front_ends=("change", "identity", "identity-change"),  # change is what it was made for
    per_window=True,
)

# By stream; the first one of a stream is its default.
ENCODERS: dict[str, Encoder] = {
    "efficientnet-lite0": _image(
        about="features of the whole picture, from a frozen ImageNet network",
        width=LITE0_WIDTH,
        weights="imagenet",
        learns=16,
    ),
    **{
        name: _image(
            about="the same from a network that was fetched, [of pictures or of clips](models.md)",
            width=TORCHVISION[name].width,
            weights=name,
        )
        for name in sorted(TORCHVISION)
    },
    "open-nsfw": _image(
        about="features of the whole picture, from the frozen network of `moderation`",
        width=NSFW_WIDTH,
        weights="moderation",
    ),
    # Sides of the squares, of the picture's shorter side. One of .35 is as good as three and costs
    # a third: docs/results.md.
    "motion-crop": _crops(
        about="`efficientnet-lite0` on a square crop (0.35 of the shorter side), placed where the "
        "window moves most",
        width=LITE0_WIDTH,
        settings={"sides": [0.35]},
    ),
    "motion-crops": _crops(
        about="the same on three crops (0.25, 0.35 and 0.5)",
        width=3 * LITE0_WIDTH,
        settings={"sides": [0.25, 0.35, 0.5]},
    ),
    "people-crop": _crops(
        about="`motion-crop` placed where people move most, by what `objects` finds",
        runs=OfFrames(Crops, crops_compute, watches=True),
        width=LITE0_WIDTH,
        settings={"sides": [0.35]},
    ),
    "motion-energy": Encoder(
        stream="motion",
        about="how much changes from picture to picture in each of 16 x 12 fields",
        runs=OfFrames(EnergyPictures),
        spec=versioned,
        version=ENERGY_VERSION,
        width=CELLS,
        grid=GRID,
    ),
    "log-mel-statistics": Encoder(
        stream="audio",
        about="mean and spread of 80 mel bands in each step",
        runs=OfSound(log_mel.audio_statistics),
        spec=versioned,
        version=log_mel.AUDIO_VERSION,
        width=2 * log_mel.MELS,
    ),
    "log-mel": Encoder(
        stream="audio",
        about="the mel spectrogram of each step",
        runs=OfSound(log_mel.audio_patches),
        spec=versioned,
        version=log_mel.AUDIO_VERSION,
        front_ends=("cnn",),
        kept="never",
    ),
    # Kept: of 0.96 s there are 1024 numbers, pooled over time, too few to hear words by, and nobody
    # is known by them any better than by "log-mel-statistics": `python -m benchmarks.sounds kept`.
    "sounds": Encoder(
        stream=sounds.STREAM,
        about="which sounds there are: 1024 features of the network of `sounds`, YAMNet, of the "
        "second around each step",
        runs=OfSound(sounds.steps_of_sounds),
        spec=sounds.sounds_spec,
        width=SOUND_WIDTH,
        weights="sounds",
    ),
    "words": Encoder(
        stream="text",
        about="its words, in lower case",
        runs=OfText(),
        spec=None,
        front_ends=("lstm",),
        kept="never",
    ),
    "sentences": Encoder(
        stream="text",
        about="what it means, as 384 numbers by MiniLM; `pip install '.[sentences]'`",
        runs=OfText(meaning),
        spec=meaning_spec,
        width=384,
        front_ends=("identity",),  # one sentence holds at every time: it never changes
        kept="never",
    ),
    "faces": Encoder(
        stream="face",
        about="what the faces in the picture express, the larger ones more: 7 probabilities and "
        "128 features of the network of `sentiment/face`; absent where there is no face",
        runs=OfFrames(FacePictures, face_compute, takes_device=False),
        spec=face_spec,
        width=135,
        weights="sentiment/face",
        kept="asked",
    ),
    "speech": Encoder(
        stream="voice",
        about="how somebody speaks, within a second to either side: mean and spread of the states "
        "of the network of `sentiment/voice`; absent where nobody speaks",
        runs=OfSound(voice_features),
        spec=voice_spec,
        width=768,
        weights="sentiment/voice",
        kept="asked",
    ),
    "object-statistics": Encoder(
        stream="objects",
        about="what `objects` finds: how many of each of 80 kinds, and of each of 12 groups how "
        "many, where, how large and how fast",
        runs=OfSightings(object_stream.statistics),
        spec=object_stream.statistics_spec,
        version=object_stream.STATISTICS_VERSION,
        width=object_stream.WIDTH,
        weights="objects",
        holds="next",
    ),
    # Kept: it is of all people together, and of nobody's way to walk.
    "people-statistics": Encoder(
        stream="pose",
        about="how all people together stand and move: 24 numbers of boxes and poses, such as who "
        "is fastest, lies, or is nearest to another; absent where nobody is",
        runs=OfSightings(people_stream.crowd, poses=True),
        spec=people_stream.people_spec,
        version=people_stream.PEOPLE_VERSION,
        width=people_stream.CROWD,
        weights="pose",
    ),
    "skeletons": Encoder(
        stream="pose",
        about="the skeletons of the two people that move most: places, in bodies about their "
        "middle, and velocities of 17 points; absent where nobody is",
        runs=OfSightings(people_stream.skeletons, poses=True),
        spec=people_stream.people_spec,
        version=people_stream.PEOPLE_VERSION,
        width=people_stream.SKELETONS * people_stream.SKELETON,
        weights="pose",
        front_ends=("skeleton-graph", *OF_FEATURES),
        kept="asked",
    ),
}


def entry(name: str) -> Encoder:
    """Return the row of an encoder. ModelError, with the choices, where there is none."""
    try:
        return ENCODERS[name]
    except KeyError:
        raise ModelError(
            f"no encoder named {name!r}; this vmm has {', '.join(sorted(ENCODERS))}"
        ) from None


def entry_of(stream: str, name: str) -> Encoder:
    """Return the row of a stream's encoder. ModelError, with the choices, where there is none."""
    row = ENCODERS.get(name)
    if row is None or row.stream != stream:
        there = choices(stream)
        raise ModelError(
            f"there is no encoder named {name!r} for the stream {stream!r}"
            + (f"; there are {', '.join(there)}" if there else "")
        )
    return row


def streams() -> tuple[str, ...]:
    """Return the streams that have encoders."""
    return tuple(dict.fromkeys(row.stream for row in ENCODERS.values()))


def choices(stream: str) -> tuple[str, ...]:
    """Return the encoders of a stream, the default first."""
    return tuple(name for name, row in ENCODERS.items() if row.stream == stream)


def load_image_encoder(bundle: Bundle, device: str) -> ImageEncoder:
    """Build the encoder of a bundle's image stream; a bundle need not carry its weights itself.

    Raises:
        ModelError: the bundle has no such stream, or the weights at hand are not the ones that it
            was made with, or they have to be fetched first.
    """
    spec = bundle.encoders.get("image")
    weights = "" if spec is None else entry_of("image", spec.name).weights
    return load_encoder(bundle, weights, device)


def image_graph(bundle: Bundle) -> Network | None:
    """Return a bundle's own image encoder as what a graph is made of; None where it has none.

    Raises:
        ModelError: the weights are damaged. ValueError: they are of another network.
    """
    from vmm_cli.features.image import graph_of_bundle

    spec = bundle.encoders.get("image")
    return None if spec is None else graph_of_bundle(bundle, entry_of("image", spec.name).weights)
