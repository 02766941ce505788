"""The stream `text` by what it means. The packages of the extra are loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Encoder, versioned


def meaning_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of it. NotInstalledError: the packages are missing."""
    from vmm_cli.features.sentences import SENTENCES_VERSION, check_packages

    check_packages()  # says now, not for each video, where they are missing
    return versioned(name, row, window_s, made_of=SENTENCES_VERSION)


def meaning(texts: Sequence[str]) -> np.ndarray:
    """Return what each text means: see `sentences.sentence_embeddings`."""
    from vmm_cli.features.sentences import sentence_embeddings

    return sentence_embeddings(texts)
