"""What faces are read as, and what is lost of it: the figures of models/sentiment/face/CARD.md.

    python -m benchmarks.faces

First of people who say neutral sentences, the clips of $VMM_DATA/talking_heads, looked at as `vmm
sentiment` does. Then of the same faces made smaller or blurred: of those that both gates of the
confidence let through in full. Where a face is stays known, so that the last table says nothing of
how well small faces are found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.special import softmax
from torch.nn import functional as F

from vmm_cli import bundles
from vmm_cli.analysis.sentiment.face import FULL_SHARPNESS, FULL_SIZE, face_evidence
from vmm_cli.bundles import Bundle
from vmm_cli.features.faces import (
    PICTURE_SIZE,
    FaceEncoder,
    faces_of,
    grey_faces,
    load_face_encoder,
    sharpness_of,
)
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import fps
from vmm_cli.media.video import Video
from vmm_cli.operations.sentiment_result import FACES_HZ

UNPLEASANT = -0.25  # a mean valence that nobody would expect of a neutral sentence
SIDES = (64, 48, 32, 24, 20)  # pixels
BLURS = (0.02, 0.03, 0.05)  # standard deviations, in shares of the face's longer side

Altered = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds talking_heads/")
    folder = Path(os.environ["VMM_DATA"]) / "talking_heads"
    clips = sorted(folder.glob("*.mpg"))
    if not clips:
        sys.exit(f"{folder} has no clips (*.mpg)")
    torch.set_num_threads(1)
    bundle = bundles.read(bundles.find("sentiment/face"))
    neutral(bundle, clips)
    gates(load_face_encoder(bundle), clips)


# --- neutral sentences ---------------------------------------------------------------------------


def neutral(bundle: Bundle, clips: list[Path]) -> None:
    """Print what the faces of people are read as who say sentences without any feeling."""
    heard = [evidence_of(clip, bundle) for clip in clips]
    chances = np.concatenate([probabilities for probabilities, _ in heard])
    first = np.bincount(chances.argmax(axis=1), minlength=len(bundle.labels)) / len(chances)
    print(f"{len(chances)} faces in {len(clips)} clips\n")
    print("| expression | first in | mean probability |\n" + "| --- " * 3 + "|")
    for label, share, mean in zip(bundle.labels, first, chances.mean(axis=0), strict=True):
        print(f"| {label} | {share:.0%} | {mean:.2f} |")
    valences = np.array([valence.mean() for _, valence in heard])
    print("\n| clip | faces | mean valence |\n" + "| --- " * 3 + "|")
    for clip, (_, valence) in zip(clips, heard, strict=True):
        print(f"| {clip.stem} | {len(valence)} | {valence.mean():.2f} |")
    every = np.concatenate([valence for _, valence in heard])
    print(f"| all | {len(every)} | {every.mean():.2f} |")
    print(f"\nClips with a mean valence below {UNPLEASANT}: {(valences < UNPLEASANT).sum()}")


def evidence_of(clip: Path, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities [N, 7] and valence [N] of a clip's faces."""
    seen = face_evidence(
        Video(
            clip,
        ),
        bundle,
        rate_hz=FACES_HZ,
        keep_features=False,
    )
    return seen.evidence.probabilities, seen.evidence.valence


# --- the gates -----------------------------------------------------------------------------------


def gates(encoder: FaceEncoder, clips: list[Path]) -> None:
    """Print how far what is read of a face moves when it is made smaller or blurred."""
    faces = list(clear_faces(encoder, clips))
    sides = [longer_side(box) for _, box in faces]
    print(f"\n{len(faces)} faces of {min(sides):.0f} to {max(sides):.0f} pixels\n")
    rows: dict[str, Altered] = {"as they are": lambda image, box: (image, box)}
    rows |= {f"{side} pixels": partial(smaller, side=side) for side in SIDES}
    rows |= {f"blurred by {share:.2f}": partial(blurred, share=share) for share in BLURS}
    print("| faces | moved | same first | sharpness |\n" + "| --- " * 4 + "|")
    before = None
    for name, alter in rows.items():
        grey = np.concatenate(
            [grey_face(*alter(image, box)) for image, box in faces]
        )  # [N, 64, 64]
        logits, _ = encoder.expression((grey[:, None] / np.float32(255) - 0.5) * 2)
        after = softmax(logits, axis=1)
        before = after if before is None else before
        moved = np.abs(after - before).sum(axis=1) / 2  # total variation
        same = after.argmax(axis=1) == before.argmax(axis=1)
        print(
            f"| {name} | {moved.mean():.2f} | {same.mean():.2f} | {sharpness_of(grey).mean():.0f} |"
        )


def clear_faces(encoder: FaceEncoder, clips: list[Path]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pictures, uint8 [H, W, 3], each with the box of a large and sharp face in it, [4]."""
    request = FrameRequest("face", fps(FACES_HZ), PICTURE_SIZE)
    for clip in clips:
        for frame in iter_frames(clip, [request]):
            faces = faces_of(encoder, frame.image)
            for box, sharpness in zip(faces.boxes, faces.sharpness, strict=True):
                if longer_side(box) >= FULL_SIZE and sharpness >= FULL_SHARPNESS:
                    yield frame.image, box


def longer_side(box: np.ndarray) -> float:
    return float((box[2:] - box[:2]).max())


def grey_face(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return what the expression network sees of a face: [1, 64, 64]."""
    return grey_faces(image, box[None])


def smaller(image: np.ndarray, box: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return picture and box scaled so that the face's longer side has `side` pixels."""
    height, width = image.shape[:2]
    scale = side / longer_side(box)
    size = round(height * scale), round(width * scale)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]  # [1, 3, H, W]
    scaled = F.interpolate(planes, size, mode="bilinear", antialias=True)[0]
    along = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    return scaled.permute(1, 2, 0).numpy(), box * along


def blurred(image: np.ndarray, box: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture blurred by a share of the face's longer side, and the same box."""
    deviation = share * longer_side(box)
    return gaussian_filter(image, (deviation, deviation, 0)), box


if __name__ == "__main__":
    main()
