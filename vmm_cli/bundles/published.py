"""torchvision's networks that name pictures and clips, one entry each; nothing is imported for it.

Those that find objects in pictures are in `published_coco.py`; all together are `FETCHABLE`.

What an entry says comes from the same place as the weights: the `weights` entry of torchvision
(`torchvision.models.get_weight`), whose `transforms` give the preprocessing and whose `meta` gives
the labels. A test compares them.

Clips are those that torchvision states the accuracy with (`frame_rate` and `clip_len` in the
documentation of each `weights` entry):

    r3d_18, mc3_18, r2plus1d_18   16 pictures at 15 a second, 1.07 s
    s3d                          128 pictures at 15 a second, 8.53 s
    mvit_v2_s                     16 pictures at 7.5 a second, 2.13 s; the network takes no others
    swin3d_t, _s, _b              32 pictures at 15 a second, 2.13 s

A clip begins each whole number of seconds that leaves no gap between clips: 1, 8 or 2 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vmm_cli.bundles.published_coco import COCO, CocoModel

PREFIX = "torchvision/"  # how the names of these encoders and of their bundles start
PUBLISHED_AT = "https://download.pytorch.org/models"
DataSet = Literal["ImageNet-1K", "Kinetics-400"]
LABELS: Mapping[DataSet, int] = {"ImageNet-1K": 1000, "Kinetics-400": 400}
SUMMARIES: Mapping[DataSet, str] = {
    "ImageNet-1K": "1000 objects, animals and scenes of ImageNet, picture by picture",
    "Kinetics-400": "400 human actions of Kinetics, clip by clip",
}

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class TorchvisionModel:
    """One network with the weights that vmm uses of it.

    Attributes:
        weights: what `torchvision.models.get_weight` calls them; file: in which they are published.
        head: the last layer, by its name in the network; before it come the features.
        width: D of the features.
        preprocess: see `Preprocess.from_dict`.
        every_s: seconds from one picture or clip to the next, unless the user says otherwise.
        data: what it was trained on, and whose labels it has.
        accuracy_percent: of the best label alone (top-1), as torchvision states it, of the test
            part of `data`.
        download_mib: size of torchvision's file.
        memory_mib: what a process takes at most that labels a video of 1920 x 1080 on a CPU, with
            one thread, rounded up: printed by tools/measure_torchvision.py.
        as_graph: whether it runs as a graph on a CPU, which TorchScript writes in seconds, see
            `engines.export`. Attention over clips does not: for mvit_v2_s ONNX Runtime takes five
            times as long as PyTorch and twice the memory.
        task, measure: what it is for, and what `accuracy_percent` is.
    """

    weights: str
    file: str
    head: str
    width: int
    preprocess: Numbers
    every_s: float
    data: DataSet
    accuracy_percent: float
    download_mib: int
    memory_mib: int
    as_graph: bool = True

    task: Literal["classes"] = "classes"
    measure: Literal["top-1"] = "top-1"

    @property
    def kind(self) -> Literal["picture", "clip"]:
        """What the network looks at."""
        return "clip" if "frames" in self.preprocess else "picture"

    @property
    def summary(self) -> str:
        """What it tells."""
        return SUMMARIES[self.data]

    @property
    def labels(self) -> int:
        """How many labels it knows."""
        return LABELS[self.data]


def _colours(mean: tuple[float, float, float], std: tuple[float, float, float]) -> Numbers:
    names = ("red", "green", "blue")
    return {
        **{f"mean_{name}": value for name, value in zip(names, mean, strict=True)},
        **{f"std_{name}": value for name, value in zip(names, std, strict=True)},
    }


_IMAGENET_COLOURS = _colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KINETICS_COLOURS = _colours((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_MVIT_COLOURS = _colours((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))

_PICTURE: Numbers = {"short_side": 256, "crop": 224, "antialias": 1, **_IMAGENET_COLOURS}
_PICTURE_232: Numbers = {**_PICTURE, "short_side": 232}
_RESNET_CLIP: Numbers = {
    "short_side": 128,
    "width": 171,
    "crop": 112,
    "antialias": 0,
    "frames": 16,
    "rate_hz": 15,
    **_KINETICS_COLOURS,
}
_S3D_CLIP: Numbers = {
    **_RESNET_CLIP,
    "short_side": 256,
    "width": 256,
    "crop": 224,
    "frames": 128,
}
_SWIN_CLIP: Numbers = {
    "short_side": 256,
    "crop": 224,
    "antialias": 0,
    "frames": 32,
    "rate_hz": 15,
    **_IMAGENET_COLOURS,
}
_MVIT_CLIP: Numbers = {**_SWIN_CLIP, "frames": 16, "rate_hz": 7.5, **_MVIT_COLOURS}

TORCHVISION: Mapping[str, TorchvisionModel] = {
    "torchvision/resnet18": TorchvisionModel(
        weights="ResNet18_Weights.IMAGENET1K_V1",
        file="resnet18-f37072fd.pth",
        head="fc",
        width=512,
        preprocess=_PICTURE,
        every_s=1.0,
        data="ImageNet-1K",
        accuracy_percent=69.8,
        download_mib=45,
        memory_mib=500,
    ),
    "torchvision/resnet50": TorchvisionModel(
        weights="ResNet50_Weights.IMAGENET1K_V2",
        file="resnet50-11ad3fa6.pth",
        head="fc",
        width=2048,
        preprocess=_PICTURE_232,
        every_s=1.0,
        data="ImageNet-1K",
        accuracy_percent=80.9,
        download_mib=98,
        memory_mib=650,
    ),
    "torchvision/mobilenet_v3_large": TorchvisionModel(
        weights="MobileNet_V3_Large_Weights.IMAGENET1K_V2",
        file="mobilenet_v3_large-5c1a4163.pth",
        head="classifier.3",  # the linear layer and hardswish before it make features
        width=1280,
        preprocess=_PICTURE_232,
        every_s=1.0,
        data="ImageNet-1K",
        accuracy_percent=75.3,
        download_mib=21,
        memory_mib=450,
    ),
    "torchvision/r3d_18": TorchvisionModel(
        weights="R3D_18_Weights.KINETICS400_V1",
        file="r3d_18-b3b3357e.pth",
        head="fc",
        width=512,
        preprocess=_RESNET_CLIP,
        every_s=1.0,
        data="Kinetics-400",
        accuracy_percent=63.2,
        download_mib=127,
        memory_mib=700,
    ),
    "torchvision/mc3_18": TorchvisionModel(
        weights="MC3_18_Weights.KINETICS400_V1",
        file="mc3_18-a90a0ba3.pth",
        head="fc",
        width=512,
        preprocess=_RESNET_CLIP,
        every_s=1.0,
        data="Kinetics-400",
        accuracy_percent=64.0,
        download_mib=45,
        memory_mib=600,
    ),
    "torchvision/r2plus1d_18": TorchvisionModel(
        weights="R2Plus1D_18_Weights.KINETICS400_V1",
        file="r2plus1d_18-91a641e6.pth",
        head="fc",
        width=512,
        preprocess=_RESNET_CLIP,
        every_s=1.0,
        data="Kinetics-400",
        accuracy_percent=67.5,
        download_mib=120,
        memory_mib=1050,
    ),
    "torchvision/s3d": TorchvisionModel(
        weights="S3D_Weights.KINETICS400_V1",
        file="s3d-d76dad2f.pth",
        # A 1 x 1 x 1 convolution whose outputs are averaged: the same as a linear layer on the
        # averaged inputs, which are the features.
        head="classifier.1",
        width=1024,
        preprocess=_S3D_CLIP,
        every_s=8.0,
        data="Kinetics-400",
        accuracy_percent=68.4,
        download_mib=32,
        memory_mib=2100,
    ),
    "torchvision/mvit_v2_s": TorchvisionModel(
        weights="MViT_V2_S_Weights.KINETICS400_V1",
        file="mvit_v2_s-ae3be167.pth",
        head="head.1",
        width=768,
        preprocess=_MVIT_CLIP,
        every_s=2.0,
        data="Kinetics-400",
        accuracy_percent=80.8,
        download_mib=132,
        memory_mib=1000,
        as_graph=False,
    ),
    "torchvision/swin3d_t": TorchvisionModel(
        weights="Swin3D_T_Weights.KINETICS400_V1",
        file="swin3d_t-7615ae03.pth",
        head="head",
        width=768,
        preprocess=_SWIN_CLIP,
        every_s=2.0,
        data="Kinetics-400",
        accuracy_percent=77.7,
        download_mib=122,
        memory_mib=1500,
        as_graph=False,
    ),
    "torchvision/swin3d_s": TorchvisionModel(
        weights="Swin3D_S_Weights.KINETICS400_V1",
        file="swin3d_s-da41c237.pth",
        head="head",
        width=768,
        preprocess=_SWIN_CLIP,
        every_s=2.0,
        data="Kinetics-400",
        accuracy_percent=79.5,
        download_mib=218,
        memory_mib=1550,
        as_graph=False,
    ),
    "torchvision/swin3d_b": TorchvisionModel(
        weights="Swin3D_B_Weights.KINETICS400_V1",
        file="swin3d_b_1k-24f7c7c6.pth",
        head="head",
        width=1024,
        preprocess=_SWIN_CLIP,
        every_s=2.0,
        data="Kinetics-400",
        accuracy_percent=79.4,
        download_mib=364,
        memory_mib=2000,
        as_graph=False,
    ),
}


FETCHABLE: Mapping[str, TorchvisionModel | CocoModel] = {**TORCHVISION, **COCO}


def how_to_get(name: str) -> str:
    """Say what brings a model of `FETCHABLE` to this machine, with a network and without one."""
    url = f"{PUBLISHED_AT}/{FETCHABLE[name].file}"
    return f"fetch it with `vmm models fetch {name}`; {by_hand(name, url)}"


def by_hand(name: str, url: str) -> str:
    """Say what brings a model, published at `url`, to a machine without a network."""
    return (
        f"without a network, bring the file {url} here yourself and run "
        f"`vmm models fetch {name} --from FILE`"
    )
