"""Segments of a long video: the same whatever it is cut into, by whom, and from the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.events import event_clip, tiny, untrained_model
from tests.squares import squares_clip
from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import chunks, store, windows
from vmm_cli.inference import load, network
from vmm_cli.inference.steps import (
    MIN_SCORE,
    Found,
    FusedSteps,
    Part,
    check_segment_model,
    find_segments,
    plan_steps,
    run_steps,
)
from vmm_cli.media.video import Video

SECONDS = 14.3
CLOSE = 1e-4

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def quick(own_cache: None, one_thread: None) -> None:
    """With a store of its own, as in a worker."""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures at uneven times; two events."""
    folder = tmp_path_factory.mktemp("long")
    spans = [(2.0, 4.5), (9.0, 12.0)]
    return event_clip(folder / "a.mkv", spans, seconds=SECONDS, pace="variable")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, long: Path) -> Make:
    """Models with fresh weights, each made once."""
    made: dict[tuple[str, ...], Path] = {}

    def model(*overrides: str) -> Path:
        if overrides not in made:
            folder = tmp_path_factory.mktemp("models") / "fresh"
            made[overrides] = untrained_model(folder, tiny(*overrides), long)
        return made[overrides]

    return model


@dataclass(frozen=True)
class Wanted:
    """A model, and what of a video it is to look at."""

    bundle: Bundle
    use_store: bool = True
    start: Fraction = Fraction(0)
    end: Fraction | None = None

    def video(self, path: Path) -> Video:
        return Video(path, start=self.start, end=self.end)


def request(model: Path, **more: Any) -> Wanted:
    return Wanted(bundles.load(str(model)), **more)


def plan(wanted: Wanted, path: Path, workers: int) -> list[Part | None]:
    return plan_steps(wanted.bundle, wanted.video(path), workers, use_store=wanted.use_store)


def run(wanted: Wanted, path: Path, part: Part | None, text: str | None = None) -> FusedSteps:
    video = wanted.video(path)
    return run_steps(wanted.bundle, video, part, use_store=wanted.use_store, text=text)


def found(wanted: Wanted, path: Path, parts: list[FusedSteps]) -> Found:
    return find_segments(wanted.bundle, wanted.video(path), parts)


def seen(wanted: Wanted, path: Path, parts: list[Part | None]) -> Found:
    return found(wanted, path, [run(wanted, path, part) for part in parts])


def same(one: Found, other: Found) -> None:
    np.testing.assert_array_equal(one.times_s, other.times_s)
    np.testing.assert_allclose(one.curves, other.curves, atol=CLOSE)
    # A score that lies at the least by a rounding may be told by one and not by the other.
    clear = 2 * MIN_SCORE
    first, second = (
        sorted(
            (d for d in each.detections if d.score > clear),
            key=lambda d: (d.label, round(d.start_s, 2), round(d.end_s, 2), d.score),
        )
        for each in (one, other)
    )
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert a.label == b.label
        assert (a.start_s, a.end_s, a.score) == pytest.approx(
            (b.start_s, b.end_s, b.score), abs=CLOSE
        )


def cut_into(monkeypatch: pytest.MonkeyPatch, stretch: int, head: int) -> None:
    monkeypatch.setattr(chunks, "CHUNK_STEPS", stretch)
    monkeypatch.setattr(network, "HEAD_STEPS", head)


# --- the same whatever it is cut into -----------------------------------------------------------

KINDS = {
    "places": (),
    "tcn": ("temporal=tcn",),
    "changes": ("streams={motion: {encoder: motion-energy, front_end: identity-change}}",),
    "steps": ("head=steps", "temporal=tcn"),
    "one scale": ("levels=1",),
    "thirds of a second": ("rate_hz=3", "temporal=tcn"),
    "fine steps": ("rate_hz=12.5", "temporal=tcn"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stretch", "head"), [(8, 8), (13, 16), (20, 4096), (480, 24)])
def test_the_pieces_do_not_show(
    make: Make, long: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stretch: int, head: int
) -> None:
    wanted = request(make(*KINDS[kind]), use_store=False)
    whole = seen(wanted, long, [None])
    assert len(whole.times_s) == len(whole.curves) >= 43
    cut_into(monkeypatch, stretch, head)
    same(seen(wanted, long, [None]), whole)


@pytest.mark.parametrize("kind", ["tcn", "changes", "steps", "thirds of a second"])
@pytest.mark.parametrize("workers", [2, 3, 5, 99])
def test_the_workers_do_not_show(
    make: Make, long: Path, monkeypatch: pytest.MonkeyPatch, kind: str, workers: int
) -> None:
    model = make(*KINDS[kind])
    wanted = request(model, use_store=False)
    whole = seen(wanted, long, [None])
    cut_into(monkeypatch, 9, 8)
    parts = plan(wanted, long, workers)
    assert len(parts) == min(workers, -(-len(whole.times_s) // 9))
    same(seen(wanted, long, parts), whole)


def test_parts_can_be_done_in_any_order_and_are_the_stretches(
    make: Make, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 9, 8)
    wanted = request(make(), use_store=False)
    parts = plan(wanted, long, 3)
    assert parts == [Part(0, 2), Part(2, 4), Part(4, 7)]
    done = {part: run(wanted, long, part) for part in reversed(parts)}
    assert [len(done[part].fused) for part in parts] == [18, 18, 22]
    same(found(wanted, long, [done[part] for part in parts]), seen(wanted, long, [None]))


def test_two_streams_in_parts(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = event_clip(tmp_path / "a.mkv", [(2, 4)], seconds=6, sound=True, late_s=1.2)
    both = "streams={motion: {encoder: motion-energy}, audio: {}}"
    model = untrained_model(tmp_path / "m", tiny(both, "fusion=graph"), clip)
    wanted = request(model, use_store=False)
    whole = run(wanted, clip, None)
    assert whole.streams == {"motion", "audio"}
    cut_into(monkeypatch, 8, 8)
    parts = plan(wanted, clip, 2)
    assert len(parts) == 2
    again = np.concatenate([run(wanted, clip, part).fused for part in parts])
    # A lossy decoder that begins in the middle makes up other noise.
    np.testing.assert_allclose(again, whole.fused, atol=0.05)


# --- a part of the video ------------------------------------------------------------------------


def test_between_start_and_end(make: Make, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen as if there were nothing else; its times are those of the whole file."""
    wanted = request(make(), use_store=False, start=Fraction("3.1"), end=Fraction("10.4"))
    shown = seen(wanted, long, [None])
    assert shown.times_s[0] == 3.1 and len(shown.times_s) == 30
    assert all(3.1 <= d.start_s < d.end_s <= 10.4 for d in shown.detections)
    cut_into(monkeypatch, 8, 8)
    same(seen(wanted, long, [None]), shown)
    parts = plan(wanted, long, 3)
    assert len(parts) == 3
    same(seen(wanted, long, parts), shown)


def test_an_end_beyond_the_video_is_its_end(make: Make, long: Path) -> None:
    wanted = request(make(), use_store=False)
    whole = seen(wanted, long, [None])
    same(seen(replace(wanted, end=Fraction(999)), long, [None]), whole)
    end_s = run(wanted, long, None).end_s
    assert end_s == float(Video(long).end_s)
    assert max(d.end_s for d in whole.detections) <= end_s


def test_nothing_lies_behind_the_end(make: Make, long: Path) -> None:
    wanted = request(make(), use_store=False, start=Fraction(15))
    for work in (
        lambda: run(wanted, long, None),
        lambda: plan(wanted, long, 2),
    ):
        with pytest.raises(InputError, match=r"nothing lies at 15 s: .* ends at 14\.") as caught:
            work()
        assert caught.value.code == "past_end"


# --- short videos -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tcn", "steps"])
@pytest.mark.parametrize("seconds", [0.08, 0.3, 1.0])
def test_a_video_of_few_steps_is_looked_at(
    make: Make, tmp_path: Path, kind: str, seconds: float
) -> None:
    clip = event_clip(tmp_path / "a.mp4", [(0, 1)], seconds=seconds)
    model = make(*KINDS[kind])
    wanted = request(model)
    assert plan(wanted, clip, 8) == [None]
    shown = seen(wanted, clip, [None])
    assert len(shown.times_s) == len(shown.curves) == max(1, -(-seconds // 0.25))
    end_s = float(Video(clip).end_s)
    assert all(0 <= d.start_s < d.end_s <= end_s for d in shown.detections)
    assert np.isfinite(shown.curves).all()


def test_one_step_beside_whole_stretches(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last stretch is shorter than what its neighbours depend on."""
    clip = event_clip(tmp_path / "a.mp4", [(1, 3)], seconds=4.08)
    wanted = request(make(*KINDS["tcn"]), use_store=False)
    whole = seen(wanted, clip, [None])
    assert len(whole.times_s) == 17
    cut_into(monkeypatch, 8, 8)
    for workers in (1, 2, 3):
        parts = plan(wanted, clip, workers)
        same(seen(wanted, clip, parts), whole)


# --- the store ----------------------------------------------------------------------------------


def test_the_second_time_nothing_is_decoded(
    make: Make, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 9, 8)
    model = bundles.load(str(make(*KINDS["tcn"])))
    wanted = request(model.folder)
    parts = plan(wanted, long, 2)
    assert len(parts) == 2
    first = seen(wanted, long, parts)
    assert store.info().entries == 7, "what lies beside a part is not kept a second time"
    assert plan(wanted, long, 2) == [None]
    assert len(plan(replace(wanted, use_store=False), long, 2)) == 2

    def decoded(*arguments: object, **options: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(windows, "from_pictures", decoded)
    same(seen(wanted, long, [None]), first)
    with pytest.raises(AssertionError, match="decoded"):
        run(replace(wanted, use_store=False), long, None)


def test_without_a_store_nothing_is_kept(make: Make, long: Path) -> None:
    seen(request(make(), use_store=False), long, [None])
    assert store.info().entries == 0


# --- what a video has ---------------------------------------------------------------------------


def test_what_is_not_there_is_not_seen(make: Make, tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.m4a", picture=False, sound=True)
    shown = run(request(make()), clip, None)
    assert shown.streams == set() and not shown.mask.any()


def test_words_are_of_the_whole_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = squares_clip(tmp_path / "a.mp4", seconds=5, title="a square that moves")
    spoken = "streams={motion: {encoder: motion-energy}, text: {}}"
    model = untrained_model(tmp_path / "m", tiny(spoken), clip)
    wanted = request(model, use_store=False)
    whole = run(wanted, clip, None)
    assert whole.streams == {"motion", "text"}
    other = run(wanted, clip, None, text="something else")
    assert not np.allclose(other.fused, whole.fused)
    wordless = squares_clip(tmp_path / "b.mp4", seconds=5)
    assert run(wanted, wordless, None).streams == {"motion"}
    cut_into(monkeypatch, 8, 8)
    again = np.concatenate([run(wanted, clip, part).fused for part in plan(wanted, clip, 3)])
    np.testing.assert_allclose(again, whole.fused, atol=1e-5)


def test_a_video_that_cannot_be_read_is_told(make: Make, tmp_path: Path) -> None:
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"\0" * 5000)
    for path, code in ((broken, "unreadable"), (tmp_path / "none.mp4", "missing")):
        with pytest.raises(InputError) as caught:
            run(request(make()), path, None)
        assert caught.value.code == code


# --- models -------------------------------------------------------------------------------------


def test_a_network_that_sees_the_whole_is_refused(long: Path, tmp_path: Path) -> None:
    recipe = replace(tiny(), temporal="gru")  # the recipe's own checks refuse it
    wanted = request(untrained_model(tmp_path / "m", recipe, long))
    with pytest.raises(ModelError, match="depends on the whole video"):
        run(wanted, long, None)


def test_a_model_of_another_kind_is_refused(make: Make) -> None:
    good = bundles.load(str(make()))
    check_segment_model(good)
    for head in ("classes", None):
        other = replace(good, network={**good.network, "head": head})
        with pytest.raises(ModelError, match="finds no segments"):
            check_segment_model(other)


@pytest.mark.parametrize("levels", [0, 13, 10**9, "x", None])
def test_scales_that_cannot_be_are_refused(make: Make, levels: object) -> None:
    good = bundles.load(str(make()))
    with pytest.raises(ModelError, match="cannot run"):
        check_segment_model(replace(good, network={**good.network, "levels": levels}))


def test_a_model_is_loaded_once(make: Make) -> None:
    folder = make()
    digest = bundles.load(str(folder)).digest
    assert load.load_trained(folder, digest) is load.load_trained(folder, digest)


def test_a_model_that_changed_meanwhile_is_refused(make: Make, long: Path) -> None:
    load.load_trained.cache_clear()
    with pytest.raises(ModelError, match="changed while it was in use"):
        wanted = request(make())
        run(replace(wanted, bundle=replace(wanted.bundle, digest="0" * 64)), long, None)
