"""Dividing a data set by its folds, and what goes to test with its group."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmm_cli.errors import DataError
from vmm_cli.training.data.read_classes import CLASSES
from vmm_cli.training.data.samples import DataSet, Sample, Split, make_dataset
from vmm_cli.training.data.splits import (
    check_divisible,
    check_for_training,
    with_validation,
    without_folds,
    without_test,
)


def sample(
    name: str, label: str, group: str, split: Split | None = None, fold: str | None = None
) -> Sample:
    return Sample(Path(name), name, (label,), split, group, fold)


def of(samples: list[Sample]) -> DataSet:
    return make_dataset(Path("data"), samples, kind=CLASSES, multi_label=False, problems=())


def test_what_goes_to_test_with_its_group_leaves_nothing_in_train() -> None:
    street = [
        sample("a", "street", "g0", "test"),
        sample("b", "street", "g0"),
        sample("c", "street", "g2"),
        sample("d", "street", "g2"),
    ]
    cartoon = [sample(f"k{i}", "cartoon", f"k{i}") for i in range(4)]
    for seed in range(5):
        divided = with_validation(of([*street, *cartoon]), seed=seed)
        assert divided.samples[1].split == "test"
        assert {s.split for s in divided.samples[2:4]} == {"train"}
        check_for_training(divided)


def test_each_fold_is_left_out_and_the_others_are_divided() -> None:
    samples = [
        sample(f"{i}", "ab"[i % 2], f"g{i // 2}", split="val", fold=f"f{i // 8}") for i in range(24)
    ]
    divided = without_folds(of(samples), seed=0, contents={})
    assert list(divided) == ["f0", "f1", "f2"]
    for name, data in divided.items():
        assert [s.split == "test" for s in data.samples] == [s.fold == name for s in samples]
        assert 2 <= sum(s.split == "val" for s in data.samples) <= 6, "drawn, not as given"


def test_what_shares_content_with_a_fold_has_no_part_in_leaving_it_out() -> None:
    samples = [sample(f"{i}", "ab"[i % 2], f"g{i}", fold=f"f{i // 8}") for i in range(24)]
    contents = {Path("0"): "same", Path("23"): "same"}
    divided = without_folds(of(samples), seed=0, contents=contents)
    assert divided["f0"].samples[23].split is None
    assert divided["f2"].samples[0].split is None
    assert all(s.split for s in divided["f1"].samples)


def test_what_is_test_goes_with_its_group() -> None:
    samples = [sample("a", "a", "g", "test"), sample("b", "a", "g"), sample("c", "b", "h")]
    assert [s.name for s in without_test(of(samples), {}).samples] == ["c"]


def test_folds_that_cannot_be_left_out_are_named() -> None:
    samples = [sample(f"{i}", "ab"[i // 4], f"g{i}", fold="xy"[i // 4]) for i in range(8)]
    with pytest.raises(DataError, match="without fold 'x'"):
        check_divisible(of(samples), seed=0, folds=True, contents={})
    check_divisible(of(samples), seed=0, folds=False, contents={})
