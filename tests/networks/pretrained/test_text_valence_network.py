"""The network that reads how pleasant a text is."""

from __future__ import annotations

import torch

from vmm_cli.networks.pretrained.shapes import TOKEN_WIDTH as WIDTH
from vmm_cli.networks.pretrained.text_valence import TextValence


def network() -> TextValence:
    torch.manual_seed(0)
    return TextValence(blocks=2, queries=4, scores=6).eval()


@torch.inference_mode()
def test_what_fills_up_a_batch_changes_nothing() -> None:
    torch.manual_seed(1)
    texts = [torch.randn(length, WIDTH) for length in (2, 9, 5)]
    scores = torch.randn(3, 6)
    judge = network()
    alone = [judge(text[None], row[None])[0] for text, row in zip(texts, scores, strict=True)]
    filled = torch.full((3, 9, WIDTH), 7.0)
    mask = torch.zeros(3, 9, dtype=torch.bool)
    for row, text in enumerate(texts):
        filled[row, : len(text)], mask[row, : len(text)] = text, True
    together = judge(filled, scores, mask)
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)
    assert together.std() > 0.01


@torch.inference_mode()
def test_tokens_and_scores_both_count() -> None:
    torch.manual_seed(1)
    states, scores = torch.randn(1, 6, WIDTH), torch.zeros(1, 6)
    judge = network()
    plain = judge(states, scores)
    assert not torch.allclose(judge(states, scores + 1), plain)
    assert not torch.allclose(judge(states.flip(2), scores), plain)
