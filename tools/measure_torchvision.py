"""How much memory and time each of torchvision's networks takes on one thread of a CPU.

    python tools/measure_torchvision.py [NAME ...]

Prints a line of JSON for each: the most memory (MiB, resident) of a process that takes two looks at
a video of 1920 x 1080, as `classify` and `detect-objects` do, and the seconds of CPU that the
network takes for one picture or clip, a detector with its suppression; scaling is apart. The
weights are random, of the true shapes; nothing is downloaded. How much a detector finds with them,
and so how long its last steps take, is chance: Keypoint R-CNN reads the points of a crowd.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import av
import numpy as np
import torch

from vmm_cli import bundles
from vmm_cli.batch.inputs import Input
from vmm_cli.bundles.published import FETCHABLE, PREFIX, TORCHVISION
from vmm_cli.bundles.published_coco import COCO, MASKS
from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.catalogue import load_image_encoder
from vmm_cli.features.coco_pictures import shown_size
from vmm_cli.features.encoder import Compute
from vmm_cli.features.image_encoder import encode
from vmm_cli.features.objects import object_compute
from vmm_cli.features.segmentation import mask_compute
from vmm_cli.fetching import fetch
from vmm_cli.inference import classify
from vmm_cli.operations import detect_objects
from vmm_cli.operations.classify import ClassifyOptions
from vmm_cli.operations.classify_models import pictures_request

SECONDS = 3
TIMED = 3


def main() -> None:
    names = sys.argv[1:] or list(FETCHABLE)
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
    more = {"weights_backbone": None} if name in COCO else {}  # nothing is downloaded
    torch.save(get_model(name.removeprefix(PREFIX), weights=None, **more).state_dict(), file)
    named = file.rename(folder / f"{name.removeprefix(PREFIX)}-{sha256(file)[:8]}.pth")
    fetch.fetch(name, os.fspath(named), on_progress=lambda *at: None)
    named.unlink()


def sha256(file: Path) -> str:
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()


def measure(name: str, video: str) -> None:
    torch.set_num_threads(1)
    source = Input(Path(video), video, video)
    look_at(name, source)
    peak = most_resident_mib()
    compute, shape = network_of(name)
    look = np.random.default_rng(0).integers(0, 256, (compute.batch, *shape), np.uint8)
    took = []
    for _ in range(TIMED):
        begin = time.process_time()
        compute.run(look)
        took.append((time.process_time() - begin) / len(look))
    said = {"name": name, "memory_mib": round(peak), "seconds": float(f"{min(took):.2g}")}
    print(json.dumps(said), flush=True)


def look_at(name: str, source: Input) -> None:
    """Take two looks, as the command does that runs the model."""
    if name in TORCHVISION:
        request = pictures_request(ClassifyOptions(count=2, no_store=True), bundles.load(name))
        classify.finish(request, source, [classify.run(request, source, None)])
        return
    model = {"segment": name} if COCO[name].task == MASKS else {"model": name}
    options = detect_objects.ObjectOptions(every=Fraction(2), no_store=True, device="cpu", **model)
    detect_objects.run(detect_objects.prepare(options).work.job, source)


def network_of(name: str) -> tuple[Compute, tuple[int, ...]]:
    """Return a network on the CPU, and the shape of one look."""
    model = bundles.load(name)
    if name in TORCHVISION:
        encoder = load_image_encoder(model, "cpu")
        run = partial(encode, encoder)
        return Compute(run, encoder.width, encoder.batch), encoder.preprocess.shape
    load = mask_compute if COCO[name].task == MASKS else object_compute
    shape = (*shown_size(COCO[name], 1080, 1920), 3)
    return load(model.folder, model.digest, "cpu"), shape


def most_resident_mib() -> float:
    # Not getrusage: its maximum begins with that of the parent process.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
