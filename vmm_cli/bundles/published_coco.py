"""torchvision's networks that find or outline objects in single pictures, one entry each.

All of them learnt on COCO. What an entry says comes from torchvision's own `weights` entry, as in
`published.py`, and from the network itself; a test compares them. Nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

OBJECTS: Literal["objects"] = "objects"  # tasks
MASKS: Literal["masks"] = "masks"
Measure = Literal["box mAP", "mIoU"]

_OBJECTS = "80 kinds of objects of COCO, people among them, each with its box"
_PEOPLE = "people, each with a box and 17 points of the body"
_KINDS = "which parts of a picture show which of 20 kinds of objects of Pascal VOC"


@dataclass(frozen=True)
class CocoModel:
    """One network with the weights that vmm uses of it.

    Attributes:
        weights: what `torchvision.models.get_weight` calls them; file: in which they are published.
        task: `objects` or `masks`.
        summary: what it tells.
        labels: how many it knows.
        short_side, long_side: pictures are scaled until the shorter side has `short_side` pixels,
            or the longer one `long_side` if that is smaller.
        accuracy_percent: `measure` as torchvision states it, of the validation part of COCO: mean
            average precision of boxes, or mean intersection over union of kinds.
        download_mib: size of torchvision's file.
        memory_mib: what a process takes at most that looks at a video of 1920 x 1080 on a CPU, with
            one thread, rounded up: printed by tools/measure_torchvision.py.
        squashed: pictures are scaled to a square of `short_side` pixels, whatever their aspect.
        norm_eps: what its normalisations add to variances, where that is not what the network is
            built with: two files are older than a correction of torchvision's.
        points: whether it reads the poses of people, too.
        as_graph: whether it runs as a graph on a CPU; suppression and regions do not.
    """

    weights: str
    file: str
    task: Literal["objects", "masks"]
    summary: str
    labels: int
    short_side: int
    long_side: int
    accuracy_percent: float
    measure: Measure
    download_mib: int
    memory_mib: int
    squashed: bool = False
    norm_eps: float | None = None
    points: bool = False
    as_graph: bool = False

    def network(self, name: str) -> dict[str, str | int | bool]:
        """Return what a bundle of this entry, called `name` in the table, says of its network."""
        return {
            "kind": name,
            "short_side": self.short_side,
            "long_side": self.long_side,
            "squashed": self.squashed,
        }


COCO: Mapping[str, CocoModel] = {
    "torchvision/fasterrcnn_resnet50_fpn": CocoModel(
        weights="FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
        file="fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        task=OBJECTS,
        summary=_OBJECTS,
        labels=80,
        short_side=800,
        long_side=1333,
        accuracy_percent=37.0,
        measure="box mAP",
        download_mib=160,
        memory_mib=1100,
        norm_eps=0.0,
    ),
    "torchvision/fasterrcnn_resnet50_fpn_v2": CocoModel(
        weights="FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        file="fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        task=OBJECTS,
        summary=_OBJECTS,
        labels=80,
        short_side=800,
        long_side=1333,
        accuracy_percent=46.7,
        measure="box mAP",
        download_mib=167,
        memory_mib=1100,
    ),
    "torchvision/fasterrcnn_mobilenet_v3_large_fpn": CocoModel(
        weights="FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1",
        file="fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        task=OBJECTS,
        summary=_OBJECTS,
        labels=80,
        short_side=800,
        long_side=1333,
        accuracy_percent=32.8,
        measure="box mAP",
        download_mib=74,
        memory_mib=700,
    ),
    "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn": CocoModel(
        weights="FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
        file="fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        task=OBJECTS,
        summary=_OBJECTS,
        labels=80,
        short_side=320,
        long_side=640,
        accuracy_percent=22.8,
        measure="box mAP",
        download_mib=74,
        memory_mib=550,
    ),
    "torchvision/ssdlite320_mobilenet_v3_large": CocoModel(
        weights="SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
        file="ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        task=OBJECTS,
        summary=_OBJECTS,
        labels=80,
        short_side=320,
        long_side=320,
        accuracy_percent=21.3,
        measure="box mAP",
        download_mib=13,
        memory_mib=450,
        squashed=True,
    ),
    "torchvision/keypointrcnn_resnet50_fpn": CocoModel(
        weights="KeypointRCNN_ResNet50_FPN_Weights.COCO_V1",
        file="keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
        task=OBJECTS,
        summary=_PEOPLE,
        labels=1,
        short_side=800,
        long_side=1333,
        accuracy_percent=54.6,
        measure="box mAP",
        download_mib=226,
        memory_mib=1150,
        norm_eps=0.0,
        points=True,
    ),
    "torchvision/deeplabv3_mobilenet_v3_large": CocoModel(
        weights="DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1",
        file="deeplabv3_mobilenet_v3_large-fc3c493d.pth",
        task=MASKS,
        summary=_KINDS,
        labels=21,
        short_side=520,
        long_side=2080,
        accuracy_percent=60.3,
        measure="mIoU",
        download_mib=42,
        memory_mib=600,
        as_graph=True,
    ),
    "torchvision/lraspp_mobilenet_v3_large": CocoModel(
        weights="LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1",
        file="lraspp_mobilenet_v3_large-d234d4ea.pth",
        task=MASKS,
        summary=_KINDS,
        labels=21,
        short_side=520,
        long_side=2080,
        accuracy_percent=57.9,
        measure="mIoU",
        download_mib=12,
        memory_mib=550,
        as_graph=True,
    ),
}
