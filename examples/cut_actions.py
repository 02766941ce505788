"""What happens when, as commands for ffmpeg: python examples/cut_actions.py VIDEO MODEL"""

import shlex
import sys

import vmm_cli as vmm

video, model = sys.argv[1:]
found = vmm.load_model(model).detect_actions(video)
for number, action in enumerate(found.segments, start=1):
    span = ["-ss", f"{action.start_s:.3f}", "-to", f"{action.end_s:.3f}"]
    command = ["ffmpeg", *span, "-i", video, f"{number:03d}_{action.label}.mp4"]
    print(shlex.join(command))
