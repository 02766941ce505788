"""torchvision's detectors and segmentation networks with random weights against torchvision itself.

Its two native operators, where they do not load, are what their definitions say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.random_weights import random_network
from vmm_cli.bundles.published import PUBLISHED_AT
from vmm_cli.bundles.published_coco import COCO, MASKS, OBJECTS
from vmm_cli.compat import ensure_torchvision
from vmm_cli.features.boxes import suppress
from vmm_cli.features.coco_bundle import labels_of
from vmm_cli.features.coco_networks import NO_KIND, convert, network_of
from vmm_cli.features.coco_pictures import cells_of, read_found, shown, shown_size
from vmm_cli.features.torchvision_networks import published_as

ensure_torchvision()
import torchvision  # noqa: E402  the cure comes first
from torchvision.models import get_model, get_weight  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SSD = "torchvision/ssdlite320_mobilenet_v3_large"
SMALL = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"
PYRAMID = "torchvision/fasterrcnn_resnet50_fpn"
PEOPLE = "torchvision/keypointrcnn_resnet50_fpn"
LRASPP = "torchvision/lraspp_mobilenet_v3_large"
DEEPLAB = "torchvision/deeplabv3_mobilenet_v3_large"
FINDERS = [name for name, row in COCO.items() if row.task == OBJECTS]
SEGMENTERS = [name for name, row in COCO.items() if row.task == MASKS]


def marked(names: list[str]) -> list[Any]:
    """With what takes seconds left to the slow tests."""
    quick = (SSD, SMALL, *SEGMENTERS)
    return [pytest.param(n, marks=[] if n in quick else [pytest.mark.slow]) for n in names]


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    """A picture that is other in each part, so that random weights tell parts apart."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 200, (12, 16, 3), np.uint8)
    whole = coarse.repeat(30, axis=0).repeat(30, axis=1)[:250, :431]
    return whole + draw.integers(0, 56, whole.shape, np.uint8)


@pytest.fixture(scope="module", autouse=True)
def complete_torchvision() -> Iterator[None]:
    """Give torchvision the two operators that it lacks here, so that it can be compared with."""
    if torchvision.extension._has_ops():
        yield
        return
    pooled = sys.modules["torchvision.ops.roi_align"]._roi_align.__wrapped__

    def roi_align(
        input: Tensor, boxes: Tensor, output_size: Any, spatial_scale: float, sampling_ratio: int
    ) -> Tensor:
        each = [
            pooled(input, box[None], spatial_scale, *output_size, sampling_ratio, False)
            for box in boxes
        ]
        return torch.cat([input.new_zeros(0, input.shape[1], *output_size), *each])

    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
        return torch.from_numpy(suppress(boxes.numpy(), scores.numpy(), iou_threshold))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.ops.poolers.roi_align", roi_align)
        patch.setattr("torchvision.ops.boxes.nms", nms)
        yield


# --- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COCO)
def test_the_table_says_what_torchvision_says(name: str) -> None:
    row, weights = COCO[name], get_weight(COCO[name].weights)
    assert weights == type(weights).DEFAULT
    assert weights.url == f"{PUBLISHED_AT}/{row.file}"
    assert weights.meta["_file_size"] == pytest.approx(row.download_mib, abs=0.51)
    (stated,) = weights.meta["_metrics"].values()
    key = {"box mAP": "box_map", "mIoU": "miou"}[row.measure]
    assert stated[key] == row.accuracy_percent
    assert row.points == ("keypoint_names" in weights.meta)
    labels = labels_of(row, published_as(row.weights))
    assert len(labels) == len(set(labels)) == row.labels
    assert not set(labels) & set(NO_KIND)


def test_labels_are_coco_s_without_gaps() -> None:
    from vmm_cli import bundles

    carried = bundles.load("objects").labels
    for name in (SSD, SMALL):
        assert tuple(labels_of(COCO[name], published_as(COCO[name].weights))) == carried
    assert labels_of(COCO[PEOPLE], published_as(COCO[PEOPLE].weights)) == ["person"]
    kinds = labels_of(COCO[LRASPP], published_as(COCO[LRASPP].weights))
    assert kinds[0] == "background" and set(kinds[1:]) <= set(carried)


def outline(name: str) -> Any:
    """A network without values."""
    more = {"aux_loss": True} if name == DEEPLAB else {}
    with torch.device("meta"):
        return get_model(name.split("/")[1], weights=None, weights_backbone=None, **more)


@pytest.mark.parametrize("name", COCO)
def test_what_is_built_is_what_was_published(name: str) -> None:
    """As far as its size says: normalisations of some were frozen, and did not count."""
    network = outline(name)
    weights = get_weight(COCO[name].weights)
    count = sum(one.numel() for one in network.parameters())
    frozen = sum(
        one.weight.numel() + one.bias.numel()
        for one in network.modules()
        if isinstance(one, nn.BatchNorm2d)
    )
    assert weights.meta["num_params"] in (count, count - frozen)


@pytest.mark.parametrize("name", FINDERS)
def test_sizes_are_the_network_s_own(name: str) -> None:
    row, numbers = COCO[name], outline(name).transform
    if row.squashed:
        assert numbers.fixed_size == (row.short_side, row.short_side)
    else:
        assert (numbers.min_size[-1], numbers.max_size) == (row.short_side, row.long_side)


# --- pictures -----------------------------------------------------------------------------------

SIZES = [(272, 640), (1080, 1920), (1920, 1080), (719, 1111), (333, 500), (99, 1000), (100, 100)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [SMALL, SSD, PYRAMID])
def test_detectors_see_what_torchvision_s_see(name: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ours = shown(COCO[name], image)
    numbers = outline(name).transform.eval()
    numbers.image_mean, numbers.image_std = [0.0] * 3, [1.0] * 3
    images, _ = numbers([torch.from_numpy(image).movedim(-1, 0).float() / 255])
    height, width = images.image_sizes[0]
    assert ours.shape == (height, width, 3)
    wanted = images.tensors[0, :, :height, :width].movedim(0, -1).numpy() * 255
    assert np.abs(ours - wanted).max() <= 0.51  # rounded to 8 bits


@pytest.mark.parametrize("size", SIZES[:-3])
def test_segmentation_sees_what_torchvision_s_sees(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ours = shown(COCO[LRASPP], image)
    transforms = get_weight(COCO[LRASPP].weights).transforms()
    wanted = transforms(torch.from_numpy(image).movedim(-1, 0)).movedim(0, -1).numpy()
    mean, std = np.array(transforms.mean), np.array(transforms.std)
    assert ours.shape == wanted.shape
    apart = np.abs(ours - (wanted * std + mean) * 255)
    assert apart.max() < 1.01 and (apart > 0.1).mean() < 5e-4


@pytest.mark.parametrize("name", [SMALL, SSD, LRASPP])
def test_pictures_of_any_shape_can_be_seen(name: str) -> None:
    network = network_of(name, convert(name, random_network(name).state_dict()))
    for size in ((1, 1), (1, 4000), (4000, 1), (16, 1500), (2, 2)):
        height, width = shown_size(COCO[name], *size)
        assert min(height, width) >= 1
        assert max(height, width) <= COCO[name].long_side
        image = np.full((*size, 3), 100, np.uint8)
        with torch.inference_mode():
            given = network(torch.from_numpy(shown(COCO[name], image))[None])
        assert torch.isfinite(given).all()
        if name == LRASPP:
            assert given.shape[-2:] == (cells_of(height), cells_of(width))


# --- objects ------------------------------------------------------------------------------------


def both_find(name: str, picture: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], Any]:
    """What vmm's network finds in a picture [100, 6 or 57], what torchvision's, and ours."""
    theirs = random_network(name)
    ours = network_of(name, convert(name, theirs.state_dict()))
    eps = COCO[name].norm_eps
    if eps is not None:  # as where torchvision loads these weights: `overwrite_eps`
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = eps
    seen = shown(COCO[name], picture)
    with torch.inference_mode():
        found = ours(torch.from_numpy(seen)[None])[0].numpy()
        (wanted,) = theirs([torch.from_numpy(seen).movedim(-1, 0).float() / 255])
    return found, {key: value.numpy() for key, value in wanted.items()}, seen.shape[:2]


def wide(rows: np.ndarray) -> np.ndarray:
    """Leave out boxes at the edge that are less than a pixel wide or high."""
    kept: np.ndarray = rows[(rows[:, 2:4] - rows[:, :2] > 0.005).all(axis=1)]
    return kept


def apart(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far each row is from the nearest of others: [n, K], [m, K] -> [n]."""
    distances: np.ndarray = np.abs(one[:, None] - others[None]).max(axis=2).min(axis=1)
    return distances


@pytest.mark.parametrize("name", marked(FINDERS))
def test_objects_are_torchvision_s(name: str, patches: np.ndarray) -> None:
    found, wanted, (height, width) = both_find(name, patches)
    said = published_as(COCO[name].weights).labels
    labels = labels_of(COCO[name], published_as(COCO[name].weights))
    named = np.array([said[label] not in NO_KIND for label in wanted["labels"]], bool)
    theirs = np.column_stack(
        [
            wanted["boxes"] / [width, height, width, height],
            wanted["scores"],
            [labels.index(said[i]) if said[i] in labels else -1 for i in wanted["labels"]],
        ]
    )[named]
    rows = found[found[:, 4] > 0]
    assert len(rows) > 5
    assert abs(len(rows) - min(len(theirs), 100)) <= 2
    assert (np.diff(rows[:, 4]) <= 0).all()
    # What nearly suppresses another, or is nearly equal, may go either way: slivers most of all.
    ours, theirs = wide(rows[:, :6]), wide(theirs)
    assert (apart(ours, theirs) < 1e-3).mean() >= 0.9
    assert (apart(theirs[: len(ours) - 1], ours) < 1e-3).mean() >= 0.9


@pytest.mark.slow
def test_points_are_torchvision_s(patches: np.ndarray) -> None:
    found, wanted, (height, width) = both_find(PEOPLE, patches)
    rows = found[found[:, 4] >= 0.3]
    assert len(rows) > 5
    places = wanted["keypoints"][..., :2] / [width, height]
    scores = 1 / (1 + np.exp(-wanted["keypoints_scores"]))
    theirs = np.concatenate([places, scores[..., None]], axis=2).reshape(len(places), -1)
    assert (apart(rows[:, 6:], theirs) < 1e-2).mean() >= 0.9
    below = found[(found[:, 4] > 0) & (found[:, 4] < 0.3)]
    assert (below[:, 6:] == 0).all()
    objects = read_found(found.ravel(), True)
    assert objects.shape[1] == 57
    np.testing.assert_allclose(objects[: len(rows), 6:], rows[:, 6:])


@pytest.mark.parametrize("name", [SSD, SMALL])
def test_a_picture_is_judged_alone(name: str, patches: np.ndarray) -> None:
    network = network_of(name, convert(name, random_network(name).state_dict()))
    seen = shown(COCO[name], patches)
    pictures = torch.from_numpy(np.stack([seen, seen[::-1].copy(), np.zeros_like(seen)]))
    with torch.inference_mode():
        together = network(pictures)
        alone = torch.cat([network(one[None]) for one in pictures])
    np.testing.assert_allclose(together[..., 4], alone[..., 4], atol=1e-3)


def test_nothing_is_found_where_nothing_is_likely(patches: np.ndarray) -> None:
    state = random_network(SMALL).state_dict()
    state["rpn.head.cls_logits.bias"] = torch.full_like(state["rpn.head.cls_logits.bias"], -50)
    network = network_of(SMALL, convert(SMALL, state))
    with torch.inference_mode():
        found = network(torch.from_numpy(shown(COCO[SMALL], patches))[None]).numpy()
    assert found.shape == (1, 100, 6) and not found.any()
    assert read_found(found.ravel(), False).shape == (0, 6)


# --- kinds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEGMENTERS)
def test_kinds_are_torchvision_s(name: str, patches: np.ndarray) -> None:
    theirs = random_network(name)
    ours = network_of(name, convert(name, theirs.state_dict()))
    seen = shown(COCO[name], patches)
    height, width = seen.shape[:2]
    with torch.inference_mode():
        scores = ours(torch.from_numpy(seen)[None])
        transforms = get_weight(COCO[name].weights).transforms()
        transforms.resize_size = None  # it has that size
        wanted = theirs(transforms(torch.from_numpy(seen).movedim(-1, 0))[None])["out"]
    assert scores.shape == (1, 21, height // 4, width // 4)
    kinds = scores.argmax(1)
    assert len(kinds.unique()) > 3
    size = kinds.shape[1:]
    between = functional.interpolate(wanted, size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(scores, between, atol=2e-2 * float(between.abs().max()))
    assert (between.argmax(1) == kinds).float().mean() > 0.98
    nearest = wanted.argmax(1)[:, 2::4, 2::4][:, : size[0], : size[1]]
    assert (nearest == kinds).float().mean() > 0.9


# --- states -------------------------------------------------------------------------------------


def test_names_of_older_files_are_known() -> None:
    """As published before torchvision 0.13: of pyramids and of what proposes regions."""
    state = random_network(SMALL).state_dict()
    older = {
        key.replace("_blocks.0.0.", "_blocks.0.")
        .replace("_blocks.1.0.", "_blocks.1.")
        .replace("rpn.head.conv.0.0.", "rpn.head.conv."): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert set(older) != set(state) and "backbone.fpn.inner_blocks.0.weight" in older
    ours, theirs = convert(SMALL, older), convert(SMALL, state)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_what_serves_training_alone_is_left_out() -> None:
    state = random_network(DEEPLAB).state_dict()
    assert any(key.startswith("aux_classifier.") for key in state)
    tensors = convert(DEEPLAB, state)
    assert not any("aux" in key or "num_batches" in key for key in tensors)
    without = {key: value for key, value in state.items() if not key.startswith("aux")}
    assert convert(DEEPLAB, without).keys() == tensors.keys()


def test_other_tensors_are_refused() -> None:
    state = random_network(LRASPP).state_dict()
    bias = "classifier.low_classifier.bias"
    short = {key: value for key, value in state.items() if key != bias}
    for wrong, said in (
        (short, r"1 of its \d+ tensors are missing, 0 are not its own"),
        (state | {"more": state[bias]}, "1 are not its own"),
        (state | {bias: state[bias][:5]}, f"1 of its tensors have another shape: .*{bias}"),
        ({}, "tensors are missing"),
    ):
        with pytest.raises(ValueError, match=said):
            convert(LRASPP, wrong)
    with pytest.raises(ValueError, match="missing"):
        network_of(LRASPP, {})


def test_half_precision_is_widened() -> None:
    halves = {
        key: value.half() if value.is_floating_point() else value
        for key, value in random_network(LRASPP).state_dict().items()
    }
    assert {value.dtype for value in convert(LRASPP, halves).values()} == {np.dtype(np.float32)}
