"""Whether somebody speaks: silero-vad's network for sound of 16 kHz, 310 000 weights.

The magnitude spectrogram of 36 ms, four convolutions over it, an LSTM from one chunk of 32 ms to
the next, and a probability for each.

Source: Silero Team 2021-2025, Silero VAD (github.com/snakers4/silero-vad, MIT), version 6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmm_cli.networks.pretrained.shapes import CONTEXT, STATE

_WINDOW = 256  # samples of a spectrum
_HOP = 128
_BINS = _WINDOW // 2 + 1

State = tuple[Tensor, Tensor]  # of the LSTM, hidden and cell: [1, N, 128] each


class SpeechActivity(nn.Module):
    """Sound in chunks -> the probability that each holds speech."""

    def __init__(self) -> None:
        super().__init__()
        # Rows: the real parts of the windowed Fourier transform, then the imaginary ones.
        self.stft = nn.Conv1d(1, 2 * _BINS, _WINDOW, stride=_HOP, bias=False)
        self.convolutions = nn.ModuleList(
            [
                nn.Conv1d(_BINS, 128, 3, padding=1),
                nn.Conv1d(128, 64, 3, stride=2, padding=1),
                nn.Conv1d(64, 64, 3, stride=2, padding=1),
                nn.Conv1d(64, STATE, 3, padding=1),
            ]
        )
        self.lstm = nn.LSTM(STATE, STATE, batch_first=True)
        self.output = nn.Linear(STATE, 1)

    def forward(self, chunks: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the probability of each chunk, [N, T, 64 + 512] -> [N, T], and the state after.

        A chunk comes with the 64 samples before it, zeros before the first. `state`: what was
        returned for the chunks before these; None at the begin.
        """
        x = F.pad(chunks.flatten(0, 1), (0, CONTEXT), "reflect")  # [N T, 640]
        real, imaginary = self.stft(x[:, None]).chunk(2, dim=1)  # [N T, 129, 4] each
        x = torch.sqrt(real**2 + imaginary**2)
        for convolution in self.convolutions:
            x = F.relu(convolution(x))  # -> [N T, 128, 1] in the end
        x = x.reshape(*chunks.shape[:2], STATE)  # [N, T, 128]
        x, state = self.lstm(x, state)
        return torch.sigmoid(self.output(F.relu(x))).squeeze(-1), state
