"""How well the valence of sentences is read: the table of docs/results.md.

    python -m benchmarks.texts

The data are $VMM_DATA/text/vader. Measured on the fifth of the groups that the bundled model did
not see (tools/train_text.py): Amazon's reviews and the NYT's articles by their ids, films and
tweets by their texts. Balanced accuracy of rating > 0 against < 0; a score of exactly 0 counts
half. Needs the extra `sentences`.

The second table is of what `bare_text` of sentiment takes for text without feeling: how many of all
snippets it changes or leaves out (their score is 0), though people rated them, and what that costs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from tools.train_text import (
    KINDS,
    by_kind,
    is_held_out,
    read_snippets,
)
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.bare_text import with_feeling
from vmm_cli.features.text_valence import read_valence, vader_features

FLOORS = {"films": 0.80, "amazon": 0.82, "nyt": 0.78, "tweets": 0.92}
VADER_LESS = 0.005


def main() -> None:
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds text/vader/")
    snippets = read_snippets(Path(os.environ["VMM_DATA"]) / "text" / "vader")
    held = is_held_out(snippets)
    texts = [snippets.texts[i] for i in np.flatnonzero(held)]
    model = bundles.load("sentiment/text")
    read = read_valence(texts, model)
    if read.reader != "sentences":
        sys.exit(str(read.remark))
    ours, theirs = np.zeros(len(held)), np.zeros(len(held))
    ours[held], theirs[held] = read.valence, vader_features(texts)[:, 0]
    mine, vader = by_kind(ours, snippets, held), by_kind(theirs, snippets, held)
    print("| texts | n | ours | VADER | target | met |\n" + "| --- " * 6 + "|")
    for kind in KINDS:
        n = int((held & (snippets.kinds == kind) & (snippets.ratings != 0)).sum())
        target = max(FLOORS[kind], vader[kind] - VADER_LESS)
        met = "yes" if mine[kind] >= target else "**no**"
        print(f"| {kind} | {n} | {mine[kind]:.3f} | {vader[kind]:.3f} | {target:.3f} | {met} |")
    felt = [with_feeling(text) for text in snippets.texts]
    is_out = np.array([not text for text in felt])
    pairs = zip(felt, snippets.texts, strict=True)
    changed = np.array([text.split() != whole.split() for text, whole in pairs])
    again = np.flatnonzero(held & changed)
    ours[again] = read_valence([felt[i] for i in again], model).valence
    ours[is_out] = 0
    left = by_kind(ours, snippets, held)
    print("\n| texts | all | changed | left out | ours | on what is left |\n" + "| --- " * 6 + "|")
    for kind in KINDS:
        of_kind = snippets.kinds == kind
        counts = [int((of_kind & one).sum()) for one in (of_kind, changed, is_out)]
        cells = " | ".join(map(str, counts))
        print(f"| {kind} | {cells} | {mine[kind]:.3f} | {left[kind]:.3f} |")


if __name__ == "__main__":
    main()
