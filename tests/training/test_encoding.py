"""How far a worker says it is with a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest

from tests.squares import squares_clip
from vmm_cli import progress
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.encoding import MAX_WINDOWS, Means, encode_sample


@dataclass
class Heard:
    """Listens, and is told nothing but how far it is."""

    stands: list[progress.Stand] = field(default_factory=list)

    def went(self, stand: progress.Stand) -> None:
        self.stands.append(stand)

    def load(self) -> None:
        pass

    def loaded(self, seconds: float) -> None:
        pass


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    listener = Heard()
    progress.listen(listener)
    yield listener
    progress.listen(None)


def test_a_long_sample_tells_its_place_in_the_whole_of_it(heard: Heard, tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "long.m4a", seconds=60, picture=False, sound=True)
    window_s = Fraction(2)
    plan = StreamPlan({"audio": encoder_spec("audio", "log-mel", window_s)}, Fraction(1), window_s)
    sample = Sample(clip, clip.name, ("moving",), split=None, group=None, fold=None)
    done = encode_sample(sample, plan, Means(use_store=False), with_text=False)
    assert len(done.windows) == MAX_WINDOWS
    shares = [stand.share for stand in heard.stands]
    assert shares == sorted(shares)
    assert shares[0] < 0.1 and shares[-1] > 0.9
    assert len({round(share, 1) for share in shares}) >= MAX_WINDOWS - 1
    lengths = [stand.last_s - stand.first_s for stand in heard.stands]
    assert lengths == pytest.approx([60] * len(lengths), abs=0.2)
