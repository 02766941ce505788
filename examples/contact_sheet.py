"""A picture of a video's shots: python examples/contact_sheet.py VIDEO SHEET.png"""

import sys

import numpy as np
from PIL import Image

import vmm_cli as vmm

video, sheet = sys.argv[1:]
middles = [(shot.start_s + shot.end_s) / 2 for shot in vmm.shots(video)]
pictures = [frame.image for frame in vmm.frames(video, at=middles, short_side=120)]
Image.fromarray(np.concatenate(pictures, axis=1)).save(sheet)
print(f"{len(pictures)} shots in {sheet}")
