"""A training run of a D-PQED layer on disk: tensors as safetensors, the rest as JSON; nothing that could run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from foldmap.errors import ConfigError, ModelError
from foldmap.visual.dpq.model import DpqedLayer

FILE = "layer.safetensors"


def save_checkpoint(
    folder: Path,
    layer: DpqedLayer,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    best: dict[str, Tensor],
    curve: list[dict[str, Any]],
) -> None:
    """Write the state after an epoch, replacing the last one at once."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"layer.{name}": value for name, value in layer.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
    # one key: safetensors writes several in no fixed order
    info = {"info": json.dumps({"identity": json.dumps(identity, sort_keys=True), "curve": curve})}
    part = folder / (FILE + ".part")
    save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, part, metadata=info)
    os.replace(part, folder / FILE)


def load_checkpoint(
    folder: Path,
    layer: DpqedLayer,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    best: dict[str, Tensor],
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Restore a run into layer and optimizer; returns the best weights and the curve so far, empty when there is none.

    Raises:
        ConfigError: the folder holds a run with other settings.
        ModelError: the checkpoint is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return best, []
    try:
        with safe_open(path, framework="pt") as held:
            info = json.loads(held.metadata()["info"])
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a dictionary
        if info["identity"] != json.dumps(identity, sort_keys=True):
            raise ConfigError(f"{folder} holds a run with other settings", "give another folder, or remove this one")
        layer.load_state_dict(_under("layer.", tensors))
        kept = {name: value.clone().copy_(tensors[f"best.{name}"]) for name, value in best.items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("adam.", tensors).items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        curve = info["curve"]
        if not isinstance(curve, list):
            raise ModelError(f"the checkpoint {path} has no curve", "remove it and train anew")
        return kept, curve
    except (ConfigError, ModelError):
        raise
    except Exception as error:
        raise ModelError(f"the checkpoint {path} cannot be read: {error}", "remove it and train anew") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
