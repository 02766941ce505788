"""Speech detection in pieces, and Whisper's blocks against the formulas."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import CHUNK, CONTEXT
from vmm_cli.networks.pretrained.shapes import SPEECH_WIDTH as WIDTH
from vmm_cli.networks.pretrained.speech_activity import SpeechActivity
from vmm_cli.networks.pretrained.speech_encoder import HEADS, SpeechEncoder


@torch.inference_mode()
def test_the_state_carries_over_what_was_heard_before() -> None:
    torch.manual_seed(0)
    network = SpeechActivity().eval()
    chunks = torch.randn(1, 9, CONTEXT + CHUNK)
    whole, _ = network(chunks)
    first, state = network(chunks[:, :4])
    rest, _ = network(chunks[:, 4:], state)
    assert whole.shape == (1, 9)
    assert torch.allclose(torch.cat([first, rest], dim=1), whole, atol=1e-6)
    assert not torch.allclose(network(chunks[:, 4:])[0], rest, atol=1e-6)


@torch.inference_mode()
def test_the_first_convolution_is_a_spectrum_of_the_mirrored_chunk() -> None:
    network = SpeechActivity().eval()
    angles = 2 * torch.pi * torch.outer(torch.arange(129), torch.arange(256)) / 256
    network.stft.weight.copy_(torch.cat([angles.cos(), -angles.sin()])[:, None])
    seen = []
    network.convolutions[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    chunk = torch.randn(CONTEXT + CHUNK)
    network(chunk[None, None])
    mirrored = torch.cat([chunk, chunk.flip(0)[1 : CONTEXT + 1]])
    expected = torch.fft.rfft(mirrored.unfold(0, 256, 128)).abs().T  # [129, 4]
    assert torch.allclose(seen[0][0], expected, atol=1e-3)


def attended(block: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """Attention of one sample, head by head: [T, 384] -> [T, 384]."""
    weight, bias = (p.numpy() for p in block.query_key_value.parameters())
    query, key, value = np.split(x @ weight.T + bias, 3, axis=1)
    heads = []
    for part in np.split(np.arange(WIDTH), HEADS):
        scores = np.exp(query[:, part] @ key[:, part].T / len(part) ** 0.5)
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, part])
    weight, bias = (p.numpy() for p in block.attention_output.parameters())
    result: np.ndarray = np.concatenate(heads, axis=1) @ weight.T + bias
    return result


@torch.inference_mode()
def test_a_block_is_attention_and_a_perceptron_each_on_what_is_normalised() -> None:
    torch.manual_seed(1)
    block = SpeechEncoder(blocks=1, positions=7).eval().blocks[0]
    x = torch.randn(1, 7, WIDTH)
    middle = x[0] + torch.from_numpy(attended(block, F.layer_norm(x[0], [WIDTH]).numpy()))
    hidden = F.gelu(block.mlp_input(F.layer_norm(middle, [WIDTH])))
    assert torch.allclose(block(x)[0], middle + block.mlp_output(hidden), atol=1e-5)


@torch.inference_mode()
def test_there_is_a_state_for_two_frames_and_positions_are_told_apart() -> None:
    torch.manual_seed(2)
    network = SpeechEncoder(blocks=2, positions=20).eval()
    frames = torch.zeros(1, 80, 39)
    states = network(frames)
    assert states.shape == (1, 20, WIDTH)
    assert torch.allclose(states[0, 5], states[0, 10], atol=1e-5)  # positions are zeros so far
    network.positions.copy_(torch.randn(20, WIDTH))
    states = network(frames)
    assert not torch.allclose(states[0, 5], states[0, 10], atol=1e-2)
