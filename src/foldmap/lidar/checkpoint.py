"""A training run on disk: weights and optimizer as tensors, the rest as JSON; nothing that could run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.model import LidarModel

if TYPE_CHECKING:
    from foldmap.lidar.train import RateControl

FILE = "checkpoint.pt"


def save_checkpoint(
    folder: Path,
    model: LidarModel,
    optimizer: torch.optim.Optimizer,
    control: RateControl,
    identity: dict[str, Any],
    step: int,
) -> None:
    """Write the state after `step`, replacing the last one at once."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "identity": json.dumps(identity, sort_keys=True),
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "control": {"log_weight": control.log_weight, "smooth": control.smooth},
    }
    part = folder / (FILE + ".part")
    torch.save(state, part)
    os.replace(part, folder / FILE)


def load_checkpoint(
    folder: Path,
    model: LidarModel,
    optimizer: torch.optim.Optimizer,
    control: RateControl,
    identity: dict[str, Any],
) -> int:
    """Restore a run and return the steps done; 0 when there is none.

    Raises:
        ConfigError: the folder holds a run with other settings.
        ModelError: the checkpoint is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["identity"] != json.dumps(identity, sort_keys=True):
            raise ConfigError(f"{folder} holds a run with other settings", "give another folder, or remove this one")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        control.log_weight = float(state["control"]["log_weight"])
        smooth = state["control"]["smooth"]
        control.smooth = None if smooth is None else float(smooth)
        return int(state["step"])
    except ConfigError:
        raise
    except Exception as error:
        raise ModelError(f"the checkpoint {path} cannot be read: {error}", "remove it and train anew") from error
