"""Views of the first examples while the network learns."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from stnlab.data.module import ImageData
from stnlab.models.network import Network
from stnlab.runs.evaluation import Frames
from stnlab.runs.predictions import CORNERS, LANDMARKS
from stnlab.training.examples import as_grey, first_images, look
from stnlab.training.grey import small, to_bytes

COUNT = 8
MOST = 40


class FrameRecorder(pl.Callback):
    """After each epoch the views of the first examples, at most 64 pixels high and wide.

    Of more than 40 epochs every second, fourth, ... is kept, and the last one. They are in Lightning's checkpoint: an
    interrupted run goes on with all earlier frames.
    """

    def __init__(self, network: Network, data: ImageData) -> None:
        self._network, self._data = network, data
        self._images: Tensor | None = None
        self._every = 1
        self._frames: dict[int, dict[str, Tensor]] = {}

    def frames(self) -> Frames | None:
        """All that were kept; None without a transformer."""
        if not self._frames:
            return None
        kept = list(self._frames.values())
        views = [
            np.stack([frame[f"views/{number}"].numpy() for frame in kept]) for number in range(self._network.views)
        ]
        return Frames(np.array(list(self._frames)), views, np.stack([frame["corners"].numpy() for frame in kept]))

    def state_dict(self) -> dict[str, Any]:
        return {"every": self._every, "frames": self._frames}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._every, self._frames = state_dict["every"], dict(state_dict["frames"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._network.transformers:
            return
        if self._images is None:
            self._images = first_images(self._data, COUNT)
        self.keep(trainer.current_epoch + 1, self._frame(self._images))

    def keep(self, epoch: int, frame: dict[str, Tensor]) -> None:
        """Take one more frame; others may go. frame: `corners` [M, transformers, 4, 2] and `views/<number>`."""
        while sum(earlier % self._every == 0 for earlier in self._frames) >= MOST:
            self._every *= 2
        kept = {earlier: one for earlier, one in self._frames.items() if earlier % self._every == 0}
        self._frames = kept | {epoch: frame}

    def _frame(self, images: Tensor) -> dict[str, Tensor]:
        said = look(self._network, images)
        landmarks = torch.from_numpy(LANDMARKS[list(CORNERS)]).to(images.device)
        frame = {"corners": torch.stack([warp(landmarks) for warp in said.warps], dim=1).float()}
        for number, pair in enumerate(zip(said.inputs, said.views, strict=True)):
            frame[f"views/{number}"] = to_bytes(small(as_grey(pair, self._data)[1]))
        # Tensors of an inference cannot go through every later use; copies can.
        return {name: tensor.cpu().clone() for name, tensor in frame.items()}
