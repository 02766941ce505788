"""A video's windows as a model sees them: real clips, the real image encoder, the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.squares import squares_clip
from vmm_cli.batch.device_client import computing_on
from vmm_cli.bundles import EncoderSpec
from vmm_cli.errors import DeviceError, InputError, ModelError
from vmm_cli.features import store
from vmm_cli.features.grid import Window, windows
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.windows import (
    WindowFeatures,
    window_features,
)
from vmm_cli.media.video import Video, past_end, wanted_until

NAMES = {"image": "efficientnet-lite0", "motion": "motion-crop", "audio": "log-mel-statistics"}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)  # as in a worker


def plan_for(*streams: str, rate_hz: int = 2, window_s: int = 1) -> StreamPlan:
    length = Fraction(window_s)
    encoders = {stream: encoder_spec(stream, NAMES[stream], length) for stream in streams}
    return StreamPlan(encoders, Fraction(rate_hz), length)


def windows_of(path: Path, plan: StreamPlan) -> list[Window]:
    return windows(Fraction(0), Video(path).end_s, plan.window_s)


def same(one: WindowFeatures, other: WindowFeatures, tolerance: float = 0) -> None:
    assert one.window == other.window
    assert one.values.keys() == other.values.keys()
    for stream, values in one.values.items():
        np.testing.assert_allclose(values, other.values[stream], atol=tolerance)
        np.testing.assert_array_equal(one.masks[stream], other.masks[stream])


# --- what there is ------------------------------------------------------------------------------


def test_streams_meet_on_one_grid_and_the_store_gives_the_same(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4", seconds=1.4, sound=True)
    plan = plan_for("image", "motion", "audio")
    chosen = windows_of(clip, plan)
    first = window_features(Video(clip), chosen, plan)
    assert [len(window.times) for window in first] == [2, 2]
    for window in first:
        assert {s: v.shape for s, v in window.values.items()} == {
            "image": (2, 1280),
            "motion": (2, 1280),
            "audio": (2, 160),
        }
        assert all(mask.all() for mask in window.masks.values())
    assert store.info().entries == 4  # motion has two tracks
    for window, kept, computed in zip(
        first,
        window_features(Video(clip), chosen, plan),
        window_features(Video(clip), chosen, plan, use_store=False),
        strict=True,
    ):
        same(window, kept)
        same(window, computed)


def test_a_stretch_sees_what_the_whole_sees(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4", seconds=3, sound=True)
    plan = plan_for("image", "audio")
    chosen = windows_of(clip, plan)
    whole = window_features(Video(clip), chosen, plan, use_store=False)
    parts = [
        window
        for part in (chosen[:2], chosen[2:])
        for window in window_features(Video(clip), part, plan, use_store=False)
    ]
    for one, other in zip(whole, parts, strict=True):
        same(one, other, tolerance=2e-3)


def test_motion_is_seen_where_it_is(tmp_path: Path) -> None:
    plan = plan_for("motion", rate_hz=4)
    change = {}
    for kind in ("moving", "still"):
        clip = squares_clip(tmp_path / f"{kind}.mp4", kind)
        (window,) = window_features(Video(clip), windows_of(clip, plan), plan, use_store=False)
        change[kind] = np.abs(np.diff(window.values["motion"], axis=0)).mean()
    assert change["moving"] > 5 * change["still"]


# --- what there is not --------------------------------------------------------------------------


def test_a_video_without_sound_has_it_masked(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    plan = plan_for("audio")
    (window,) = window_features(Video(clip), windows_of(clip, plan), plan)
    assert window.values["audio"].shape == (2, 160)
    assert not window.masks["audio"].any()


def test_sound_without_pictures_has_them_masked(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.m4a", picture=False, sound=True)
    plan = plan_for("image", "motion", "audio")
    (window,) = window_features(Video(clip), windows_of(clip, plan), plan)
    assert window.values["image"].shape == (2, 1280)
    assert window.values["motion"].shape == (2, 1280)
    assert not window.masks["image"].any() and not window.masks["motion"].any()
    assert window.masks["audio"].all()


def broken_pictures(source: Path, target: Path) -> Path:
    """Copy a file, with nothing that can be decoded in its packets of pictures."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.dts is None:
                continue
            kept = packet
            if packet.stream.type == "video":
                kept = av.Packet(b"\x00" * packet.size)
                kept.pts, kept.dts = packet.pts, packet.dts
                kept.time_base, kept.is_keyframe = packet.time_base, packet.is_keyframe
                kept.duration = packet.duration
            kept.stream = streams[packet.stream.index]
            made.mux(kept)
    return target


def test_pictures_that_cannot_be_decoded_leave_the_sound(tmp_path: Path) -> None:
    heard = squares_clip(tmp_path / "a.mp4", sound=True)
    clip = broken_pictures(heard, tmp_path / "b.mp4")
    plan = plan_for("image", "audio")
    (window,) = window_features(Video(clip), windows_of(clip, plan), plan)
    assert not window.masks["image"].any()
    assert window.masks["audio"].all()


def test_pictures_that_cannot_be_decoded_are_an_error_without_sound(tmp_path: Path) -> None:
    clip = broken_pictures(squares_clip(tmp_path / "a.mp4"), tmp_path / "b.mp4")
    plan = plan_for("image")
    with pytest.raises(InputError) as caught:
        window_features(Video(clip), [Window(Fraction(0), Fraction(1))], plan)
    assert caught.value.code == "unreadable"


def test_a_file_of_neither_is_an_error(tmp_path: Path) -> None:
    clip = tmp_path / "a.srt"
    clip.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(InputError):
        assert Video(clip).end_s


def test_pictures_may_change_their_size_on_the_way(tmp_path: Path, render_clip: Callable) -> None:
    parts = [
        render_clip(f"{side}.ts", frames=12, rate=12, width=16 * side, height=12 * side)
        for side in (10, 20)
    ]
    clip = tmp_path / "both.ts"
    clip.write_bytes(b"".join(part.read_bytes() for part in parts))
    plan = plan_for("image", "motion")
    for window in window_features(Video(clip), [Window(Fraction(0), Fraction(1))], plan):
        assert window.masks["image"].all() and window.masks["motion"].all()


# --- the plan -----------------------------------------------------------------------------------


def test_what_is_wanted_ends_with_the_file_at_the_latest() -> None:
    end_s = Fraction(10)
    assert wanted_until(Fraction(2), None, end_s) == 10
    assert wanted_until(Fraction(2), Fraction(3), end_s) == 3
    assert wanted_until(Fraction(2), Fraction(30), end_s) == 10
    for start, end in ((10, None), (12, 13)):
        with pytest.raises(InputError, match=f"at {start} s: the video ends at 10.000 s") as caught:
            wanted_until(Fraction(start), end, end_s)
        assert caught.value.code == "past_end"
    assert str(past_end(Fraction(2), None)).endswith("nothing lies at 2 s: the video ends before")


@pytest.mark.parametrize(("rate_hz", "window_s"), [(0, 4), (4, 0), (-1, 4), (60, 3600)])
def test_a_plan_has_some_steps_and_not_too_many(rate_hz: int, window_s: int) -> None:
    with pytest.raises(ValueError, match="steps a second"):
        StreamPlan({}, Fraction(rate_hz), Fraction(window_s))


@pytest.mark.parametrize(("stream", "name"), [("audio", "x"), ("motion", "x"), ("image", "x")])
def test_an_encoder_that_is_not_there_is_named(stream: str, name: str) -> None:
    with pytest.raises(ModelError, match="'x'"):
        encoder_spec(stream, name, Fraction(4))


def test_what_decides_the_values_is_in_the_digest() -> None:
    asked = [("motion-crop", 4), ("motion-crop", 5), ("motion-crops", 4)]
    specs = [encoder_spec("motion", name, Fraction(length)) for name, length in asked]
    assert len({spec.digest for spec in specs}) == 3


def test_three_crops_give_three_times_as_many_values(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    plan = plan_for("motion")
    crops = replace(plan, encoders={"motion": encoder_spec("motion", "motion-crops", Fraction(1))})
    one, three = (window_features(Video(clip), windows_of(clip, p), p)[0] for p in (plan, crops))
    width = one.values["motion"].shape[1]
    assert three.values["motion"].shape[1] == 3 * width
    assert np.array_equal(three.values["motion"][:, width : 2 * width], one.values["motion"])


def test_an_encoder_of_another_version_is_refused(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    plan = plan_for("image")
    other = EncoderSpec("efficientnet-lite0", "0" * 64, plan.encoders["image"].preprocess)
    with pytest.raises(ModelError):
        window_features(
            Video(clip), windows_of(clip, plan), replace(plan, encoders={"image": other})
        )
    # What a model says of itself is looked up in its folder; there is none.
    own = replace(plan, encoders={"image": other}, bundle=tmp_path)
    with pytest.raises(ModelError):
        window_features(Video(clip), windows_of(clip, plan), own)


@pytest.mark.parametrize("stream", ["image", "motion"])
def test_networks_compute_where_they_are_told_to(stream: str, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that is to be lacking")
    clip = squares_clip(tmp_path / "a.mp4")
    plan = plan_for(stream)
    with computing_on("cuda"), pytest.raises(DeviceError, match="no CUDA device"):
        window_features(Video(clip), windows_of(clip, plan), plan)


# --- special encoders ---------------------------------------------------------------------------


def test_an_encoder_cut_in_two_is_the_encoder(tmp_path: Path) -> None:
    from vmm_cli.features.trained_image import load_tail

    clip = squares_clip(tmp_path / "a.mp4")
    plan = plan_for("image")
    (whole,) = window_features(Video(clip), windows_of(clip, plan), plan)
    cut = replace(plan, train_last=2)
    (first,) = window_features(Video(clip), windows_of(clip, plan), cut)
    tail = load_tail("efficientnet-lite0", 2)
    features = tail(torch.from_numpy(first.values["image"])).detach().numpy()
    np.testing.assert_allclose(features, whole.values["image"], atol=2e-3)
    assert store.info().entries == 1, "what comes before the last blocks is not kept"


@pytest.mark.extra("sentences")
def test_sentences_hold_at_every_step(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.mp4")
    spec = encoder_spec("text", "sentences", Fraction(1))
    plan = StreamPlan({"text": spec}, Fraction(2), Fraction(1))
    (said,) = window_features(Video(clip), windows_of(clip, plan), plan, text="two men fight")
    assert said.values["text"].shape == (2, 384)
    np.testing.assert_array_equal(said.values["text"][0], said.values["text"][1])
    assert said.masks["text"].all()
    (silent,) = window_features(Video(clip), windows_of(clip, plan), plan, text="")
    assert not silent.masks["text"].any()
    assert store.info().entries == 0, "the store holds nothing that was said"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision/resnet18", "torchvision/r3d_18"])
def test_torchvisions_networks_are_encoders_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.random_weights import random_weights
    from vmm_cli.features.torchvision_bundle import make_bundle

    file = random_weights(name, tmp_path)
    make_bundle(name, file, {"file": file.name, "sha256": "0" * 64}, tmp_path / "models" / name)
    monkeypatch.setenv("VMM_MODELS", str(tmp_path / "models"))
    clip = squares_clip(tmp_path / "a.mp4", seconds=2)
    plan = StreamPlan({"image": encoder_spec("image", name, Fraction(2))}, Fraction(1), Fraction(2))
    (window,) = window_features(Video(clip), windows_of(clip, plan), plan, use_store=False)
    assert window.values["image"].shape == (2, 512)
    assert window.masks["image"].all()
    (last,) = window_features(
        Video(clip), [Window(Fraction(1), Fraction(2))], plan, use_store=False
    )
    np.testing.assert_allclose(last.values["image"][0], window.values["image"][1], atol=2e-3)
