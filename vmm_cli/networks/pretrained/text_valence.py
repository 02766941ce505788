"""How pleasant a text is, from what the lower blocks of MiniLM give for its tokens.

Blocks as BERT's, which go on from there, then attention pooling: each query weighs the tokens anew.
What VADER's word list says of the text joins in at the end, as far as it is to be trusted there.

Source: Devlin et al. 2019, BERT; Wang et al. 2020, MiniLM (12 heads of 32, 1536 inside).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmm_cli.networks.pretrained.shapes import TOKEN_WIDTH as WIDTH

HEADS = 12
INSIDE = 1536
EPSILON = 1e-12  # BERT's


class TextValence(nn.Module):
    """States of a text's tokens and VADER's scores of it -> how much speaks for pleasant.

    `blocks`: how many go on from the given states; `queries`: how often tokens are weighed;
    `scores`: how many scores of VADER there are.
    """

    def __init__(self, *, blocks: int, queries: int, scores: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH,
                HEADS,
                INSIDE,
                activation="gelu",
                layer_norm_eps=EPSILON,
                batch_first=True,
            )
            for _ in range(blocks)
        )
        self.weigh = nn.Linear(WIDTH, queries)
        self.dropout = nn.Dropout(0.2)
        self.judge = nn.Linear(WIDTH * queries, 1)
        self.trust = nn.Linear(WIDTH * queries, scores)

    def forward(self, states: Tensor, scores: Tensor, mask: Tensor | None = None) -> Tensor:
        """[N, L, 384], [N, scores], mask [N, L] (True: a token) or None: all -> logits [N]."""
        padding = None if mask is None else ~mask
        for block in self.blocks:
            states = block(states, src_key_padding_mask=padding)
        weights = self.weigh(states)  # [N, L, Q]
        if padding is not None:
            weights = weights.masked_fill(padding[..., None], -torch.inf)
        pooled = weights.softmax(dim=1).transpose(1, 2) @ states  # [N, Q, 384]
        known = self.dropout(pooled.flatten(1))
        # How much the scores count hangs on the text: a word list knows tweets better than reviews.
        logits: Tensor = self.judge(known)[:, 0] + (self.trust(known) * scores).sum(dim=1)
        return logits
