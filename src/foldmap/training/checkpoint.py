"""A training run on disk: tensors as safetensors, the rest as JSON; nothing that could run code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from foldmap.errors import ConfigError, ModelError

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What was found of a run, beside network and optimizer: steps done, and what its `Trainer` keeps."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save_checkpoint(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict[str, Any],
    step: int,
    kept: dict[str, Tensor],
    facts: dict[str, Any],
) -> None:
    """Write the state after `step`, replacing the last one at once."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"kept.{name}": value for name, value in kept.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
    said = {"identity": json.dumps(identity, sort_keys=True), "step": step, "facts": facts}
    part = folder / (FILE + ".part")
    held = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    save_file(held, part, metadata={"info": json.dumps(said)})  # one key: several would have no fixed order
    os.replace(part, folder / FILE)


def load_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> Checkpoint | None:
    """Restore a run into network and optimizer; None when there is none.

    Raises:
        ConfigError: the folder holds a run with other settings.
        ModelError: the checkpoint is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as held:
            info = json.loads(held.metadata()["info"])
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a dictionary
        if info["identity"] != json.dumps(identity, sort_keys=True):
            raise ConfigError(f"{folder} holds a run with other settings", "give another folder, or remove this one")
        network.load_state_dict(_under("network.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("adam.", tensors).items():
            number, key = name.split(".", 1)
            state.setdefault(int(number), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        return Checkpoint(int(info["step"]), _under("kept.", tensors), dict(info["facts"]))
    except ConfigError:
        raise
    except Exception as error:
        raise ModelError(f"the checkpoint {path} cannot be read: {error}", "remove it and train anew") from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
