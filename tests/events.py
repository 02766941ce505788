"""Videos in which a bright square moves for a while and else stands still: see `event_clip`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import Recipe

WIDTH, HEIGHT, SIDE = 96, 72, 16
SPEED = 40.0  # pixels a second
SOUND_HZ = 16000
TICKS_PER_S = 1000

Spans = Sequence[tuple[float, float]]

# Times of pictures in ticks, by what is usual about them and what is not.
PACES: dict[str, Callable[[float], list[int]]] = {
    "steady": lambda seconds: [round(k * 80) for k in range(round(seconds * 12.5))],
    "slow": lambda seconds: [k * 500 for k in range(round(seconds * 2))],
    "variable": lambda seconds: _variable(seconds),
}


def _variable(seconds: float) -> list[int]:
    """From 40 to 200 ms apart, drawn alike each time."""
    draw = np.random.default_rng(5)
    ticks = np.cumsum([0, *draw.choice([40, 60, 100, 125, 200], round(seconds * 25))])
    return [int(tick) for tick in ticks if tick < seconds * TICKS_PER_S]


def event_clip(
    path: Path,
    events: Spans = (),
    *,
    seconds: float = 8.0,
    pace: str = "steady",
    seed: int = 0,
    late_s: float = 0.0,
    sound: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rotation: int = 0,
    square: bool = True,
) -> Path:
    """Render a clip in which a square moves during the events, in seconds on the clock.

    `late_s`: with `sound` the pictures begin so much later than it, and the events are times on the
    file's clock; without it all timestamps are so much later, which the clock takes off again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begins_s = late_s if sound else 0.0
    ticks = [tick for tick in PACES[pace](seconds) if tick >= begins_s * TICKS_PER_S]
    shift = 0 if sound else round(late_s * TICKS_PER_S)
    with av.open(os.fspath(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "20"}
        video = container.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS_PER_S)
        video.gop_size = 12
        if rotation:
            video.set_display_rotation(rotation)
        audio = None
        if sound:
            audio = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
            _write_sound(container, audio, seconds)
        for tick in ticks:
            image = _picture(tick / TICKS_PER_S, events, seed, size, square)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = tick + shift, Fraction(1, TICKS_PER_S)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            container.mux(audio.encode())
    return path


def tiny(*overrides: str) -> Recipe:
    """A recipe for segments that trains in seconds, on motion alone."""
    return load_recipe(
        "segments",
        [
            "streams={motion: {encoder: motion-energy}}",
            *("rate_hz=4", "window_s=8", "width=16", "levels=4", "dropout=0.1"),
            *("optimisation.epochs=25", "optimisation.learning_rate=0.01", "optimisation.batch=4"),
            *overrides,
        ],
    )


def _write_sound(container: av.container.OutputContainer, audio: object, seconds: float) -> None:
    draw = np.random.default_rng(0)
    for first in range(0, round(seconds * SOUND_HZ) - 1023, 1024):
        samples = draw.normal(0, 0.05, (1, 1024)).astype(np.float32)
        heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        heard.sample_rate, heard.pts = SOUND_HZ, first
        heard.time_base = Fraction(1, SOUND_HZ)
        container.mux(audio.encode(heard))


def _picture(
    time_s: float, events: Spans, seed: int, size: tuple[int, int], square: bool
) -> np.ndarray:
    """Return what is seen at a time: uint8 [H, W, 3]."""
    width, height = size
    draw = np.random.default_rng(seed)
    ground = draw.integers(20, 90, (-(-height // 8), -(-width // 8))).repeat(8, 0).repeat(8, 1)
    image = np.repeat(ground[:height, :width, None], 3, axis=2).astype(np.uint8)
    top = int(draw.integers(4, height - SIDE - 4))
    moved_s = sum(max(0.0, min(time_s, end) - begin) for begin, end in events)
    left = round(4 + SPEED * moved_s) % (width - SIDE)
    if square:
        image[top : top + SIDE, left : left + SIDE] = (230, 220, 40)
    return image


def untrained_model(
    folder: Path, recipe: Recipe, *clips: Path, labels: Sequence[str] = (), graphs: bool = False
) -> Path:
    """Make a model for segments with fresh weights that knows the statistics of some clips."""
    import torch

    from vmm_cli import bundles
    from vmm_cli.engines.export import graph_maker
    from vmm_cli.inference.examples import examples, tokens_from
    from vmm_cli.inference.export import graphs_of
    from vmm_cli.inference.in_torch import CPU, batch_of, network_from
    from vmm_cli.training.data.read_segments import SEGMENTS
    from vmm_cli.training.data.samples import Sample, make_dataset
    from vmm_cli.training.encoding import Means, encode_sample
    from vmm_cli.training.learn import _about
    from vmm_cli.training.prepare import plan_for

    plan, labels = plan_for(recipe), list(labels or ("moves", "rests"))
    wanted = [Sample(c, c.name, (), None, None, None, segments=()) for c in clips]
    means = Means(use_store=False)
    encoded = [encode_sample(one, plan, means, "text" in recipe.streams) for one in wanted]
    data = make_dataset(folder, wanted, kind=SEGMENTS, multi_label=True, problems=())
    about = _about(replace(data, labels=tuple(labels)), encoded, recipe)
    torch.manual_seed(1)
    network = network_from(about)
    seen = examples(encoded, range(len(clips)), list(recipe.streams), tokens_from(about))
    values, masks, _ = batch_of(seen, range(len(clips)), CPU)
    network.fit_statistics(values, masks)
    encoders = {
        stream: {"name": spec.name, "sha256": spec.digest, "preprocess": dict(spec.preprocess)}
        for stream, spec in plan.encoders.items()
    }
    fields = {
        "name": folder.name,
        "version": 1,
        "summary": "fresh weights",
        "task": data.task,
        "streams": list(recipe.streams),
        "encoders": encoders,
        "network": about,
        "sampling": {"every_s": 1 / recipe.rate_hz, "free": False},
        "thresholds": {"score": 0.01},
        "licence": {"code": "Apache-2.0", "weights": "none", "data": "none"},
        "labels": labels,
    }
    tensors = {f"network.{k}": v.numpy() for k, v in network.state_dict().items()}
    made = graphs_of(network.eval(), about, seen) if graphs else {}
    makers = {role: graph_maker(one) for role, one in made.items()}
    return bundles.save(folder, fields, tensors, makers).folder
