"""A training in the middle, on disk: one file, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vmm_cli.errors import DataError
from vmm_cli.files import atomic_file
from vmm_cli.training.loop import Progress

SCHEMA = "vmm.checkpoint/1"


def save_checkpoint(path: Path, progress: Progress) -> None:
    """Write all that `fit` needs to go on. OutputError where that is not possible."""
    tensors = {f"network.{k}": v for k, v in progress.network.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in progress.best.items()}
    if progress.average is not None:
        tensors |= {f"average.{k}": v for k, v in progress.average.items()}
    state = progress.optimiser.state_dict()["state"]
    for index, moments in state.items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
    about = {
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_loss": progress.best_loss,
        "history": progress.history,
    }
    data = save(
        {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()},
        metadata={"schema": SCHEMA, "about": json.dumps(about)},
    )
    with atomic_file(path) as file:
        file.buffer.write(data)


def load_checkpoint(path: Path, progress: Progress) -> None:
    """Bring a training that has just begun to where the checkpoint is.

    Raises:
        DataError: the file is damaged or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise DataError(f"{path}: is no checkpoint of this version of vmm-cli")
            about = json.loads(metadata["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
        progress.network.load_state_dict(_part(tensors, "network."))
        if progress.average is not None:
            for name, value in _part(tensors, "average.").items():
                progress.average[name].copy_(value)
        progress.best = _part(tensors, "best.")
        _load_optimiser(progress.optimiser, _part(tensors, "optimiser."))
        progress.epoch = int(about["epoch"])
        progress.best_epoch = int(about["best_epoch"])
        progress.best_loss = float(about["best_loss"])
        progress.history = list(about["history"])
    except (SafetensorError, OSError, RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path}: cannot be gone on from: {reason}; remove it to begin again"
        ) from None


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _load_optimiser(optimiser: torch.optim.Optimizer, flat: dict[str, torch.Tensor]) -> None:
    whole = optimiser.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in flat.items():
        index, _, moment = name.partition(".")
        state.setdefault(int(index), {})[moment] = value
    optimiser.load_state_dict({**whole, "state": state})
