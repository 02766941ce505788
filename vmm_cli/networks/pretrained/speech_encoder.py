"""Whisper's encoder of speech, its convolutions and its first blocks.

Source: Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision, 2.2; the
size is that of the model tiny. The blocks are those of Vaswani et al. 2017, normalised first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import SPEECH_MELS as MELS
from vmm_cli.networks.pretrained.shapes import SPEECH_WIDTH as WIDTH

HEADS = 6


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.attention_output = nn.Linear(WIDTH, WIDTH)
        self.mlp_norm = nn.LayerNorm(WIDTH)
        self.mlp_input = nn.Linear(WIDTH, 4 * WIDTH)
        self.mlp_output = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, 384] -> [N, T, 384]."""
        parts = self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1)  # [N, T, 384] each
        query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value)  # [N, 6, T, 64]
        x = x + self.attention_output(attended.transpose(1, 2).flatten(2))
        y: Tensor = self.mlp_output(F.gelu(self.mlp_input(self.mlp_norm(x))))
        return x + y


class SpeechEncoder(nn.Module):
    """Log-mel frames -> states, one for 20 ms each.

    `blocks`: how many there are; `positions`: the most states that come out.
    """

    def __init__(self, blocks: int, positions: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(positions, WIDTH))
        self.blocks = nn.ModuleList([_Block() for _ in range(blocks)])

    def forward(self, log_mel: Tensor) -> Tensor:
        """[N, 80, F] -> [N, ceil(F / 2), 384], at most `positions` of them."""
        x = F.gelu(self.conv1(log_mel))  # [N, 384, F]
        x = F.gelu(self.conv2(x)).transpose(1, 2)  # [N, T, 384]
        x = x + self.positions[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x
