"""Voices rated for `vmm train --task valence`, and what a constant is worth: docs/results.md.

    python -m benchmarks.valence voices.csv

Writes the sentences of $VMM_DATA/voices as a manifest: the emotion, its valence in the table of
`vmm_cli.analysis.sentiment.evidence` (boredom is not in it), and the speaker as group. Prints the
mean absolute error of always answering the median valence of the other speakers.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

import numpy as np

from vmm_cli.analysis.sentiment.evidence import VALENCE


def main() -> None:
    parser = argparse.ArgumentParser(description="Write voices rated for valence.")
    parser.add_argument("manifest", type=Path, help="the CSV file to write")
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds voices/")
    folder = (Path(os.environ["VMM_DATA"]) / "voices").resolve()
    with (folder / "clips.csv").open(newline="") as file:
        clips = list(csv.DictReader(file))
    with arguments.manifest.open("w", newline="") as file:
        manifest = csv.writer(file)
        manifest.writerow(["path", "valence", "emotion", "group"])
        for clip in clips:
            emotion = clip["label"]
            valence = VALENCE.get(emotion, "")
            manifest.writerow([folder / clip["path"], valence, emotion, clip["group"]])
    rated = [clip for clip in clips if clip["label"] in VALENCE]
    valences = np.array([VALENCE[clip["label"]] for clip in rated])
    speakers = np.array([clip["group"] for clip in rated])
    error = error_of_median(valences, speakers)
    print(f"Mean absolute error of the median valence: {error:.3f} ({len(rated)} sentences)")


def error_of_median(valences: np.ndarray, speakers: np.ndarray) -> float:
    """Return the mean absolute error of each speaker's valences from the others' median."""
    errors = [
        np.abs(valences[speakers == speaker] - np.median(valences[speakers != speaker]))
        for speaker in np.unique(speakers)
    ]
    return float(np.concatenate(errors).mean())


if __name__ == "__main__":
    main()
