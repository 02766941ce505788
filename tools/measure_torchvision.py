"""How much memory and time each of torchvision's networks takes on one thread of a CPU.

    python tools/measure_torchvision.py [NAME ...]

Prints a line of JSON for each: the most memory (MiB, resident) of a process that labels two looks
of a video of 1920 x 1080, and the seconds that encoding one picture or clip takes. The weights are
random, of the true shapes; nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import av
import numpy as np
import torch

from vmm_cli import bundles
from vmm_cli.batch.inputs import Input
from vmm_cli.bundles.published import PREFIX, TORCHVISION
from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.catalogue import load_image_encoder
from vmm_cli.features.image_encoder import encode
from vmm_cli.fetching import fetch
from vmm_cli.inference import classify
from vmm_cli.operations.classify import ClassifyOptions, pictures_request

SECONDS = 3
TIMED = 3


def main() -> None:
    names = sys.argv[1:] or list(TORCHVISION)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        video = Path(folder) / "noise.mp4"
        render(video)
        for name in names:
            make(name, Path(folder))
            program = "import measure_torchvision as m, sys; m.measure(sys.argv[1], sys.argv[2])"
            here = Path(__file__).parent
            subprocess.run([sys.executable, "-c", program, name, video], cwd=here, check=True)


def render(path: Path) -> None:
    """Write moving stripes, 25 pictures a second."""
    rows, columns = np.mgrid[:1080, :1920]
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for i in range(25 * SECONDS):
            grey = ((rows + columns + 8 * i) % 256).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(np.stack([grey] * 3, axis=2), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def make(name: str, folder: Path) -> None:
    """Make the bundle, in a process that is not the one measured."""
    ensure_torchvision()
    from torchvision.models import get_model

    file = folder / "random.pth"
    torch.save(get_model(name.removeprefix(PREFIX)).state_dict(), file)
    named = file.rename(folder / f"{name.removeprefix(PREFIX)}-{sha256(file)[:8]}.pth")
    fetch.fetch(name, os.fspath(named), on_progress=lambda *at: None)
    named.unlink()


def sha256(file: Path) -> str:
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()


def measure(name: str, video: str) -> None:
    torch.set_num_threads(1)
    model = bundles.load(name)
    options = ClassifyOptions(count=2, no_store=True)
    request = pictures_request(options, model)
    source = Input(Path(video), video, video)
    classify.finish(request, source, [classify.run(request, source, None)])
    peak = most_resident_mib()
    encoder = load_image_encoder(model, "cpu")
    look = np.zeros((encoder.batch, *encoder.preprocess.shape), np.uint8)
    took = []
    for _ in range(TIMED):
        begin = time.perf_counter()
        encode(encoder, look)
        took.append((time.perf_counter() - begin) / len(look))
    said = {"name": name, "memory_mib": round(peak), "seconds": float(f"{min(took):.2g}")}
    print(json.dumps(said), flush=True)


def most_resident_mib() -> float:
    # Not getrusage: its maximum begins with that of the parent process.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
