"""Batches of images that are decoded as they are needed, in worker processes, ahead of the training."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stnlab.data.batch import RawBatch, Split
from stnlab.data.loader import Loader
from stnlab.data.raw import RawImages, read_images
from stnlab.errors import StnlabError

Rows = NDArray[np.int64]
MOST_WORKERS = 8


@dataclass(frozen=True)
class Request:
    """A batch to read: rows of the samples, and of other images that their distortion shows. Arrays, cheap to send."""

    rows: Rows
    others: Rows
    split: Split
    epoch: int
    global_size: int


class Reader(Dataset[RawBatch | StnlabError]):
    """What a worker has: images, and labels [D, heads]. All that is random has been decided in the request."""

    def __init__(self, raw: RawImages) -> None:
        self.raw = raw

    def __getitem__(self, request: Request) -> RawBatch | StnlabError:
        try:
            images, others = (
                torch.from_numpy(read_images(self.raw.images, rows)) for rows in (request.rows, request.others)
            )
        except StnlabError as error:
            return error  # raised here, torch would wrap its one line in the worker's traceback
        labels = torch.from_numpy(self.raw.labels[request.rows]).reshape(len(request.rows), -1)
        rows, other_rows = torch.from_numpy(request.rows), torch.from_numpy(request.others)
        split, epoch = request.split, request.epoch
        return RawBatch(images, labels, rows, split, epoch, request.global_size, others, other_rows)


class StreamingLoader(Loader):
    """The batches of a `TensorLoader`, on the CPU, read by `workers` processes (0: by this one).

    others: for an epoch, the rows [D, K] of the images that each sample's distortion shows besides its own; they come
    along. pinned: in memory from which a GPU copies while it computes. The workers live until `close`.
    """

    def __init__(
        self,
        raw: RawImages,
        rows: Tensor,
        split: Split,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        *,
        others: Callable[[int], Tensor],
        workers: int,
        pinned: bool,
    ) -> None:
        super().__init__(rows, split, batch_size, seed, rank, world)
        self.raw, self.others, self.workers, self.pinned = raw, others, workers, pinned
        self._requests: list[Request] = []
        self._batches: DataLoader[RawBatch | StnlabError] | None = None

    def batches(self, first: int) -> Iterator[RawBatch]:
        self._batches = self._batches or self._open()
        self._requests[:] = self._planned(first)
        for batch in self._batches:
            if isinstance(batch, StnlabError):
                raise batch
            yield batch

    def close(self) -> None:
        """End the workers; the next epoch starts new ones."""
        self._batches = None

    def _open(self) -> DataLoader[RawBatch | StnlabError]:
        return DataLoader(
            Reader(self.raw),
            batch_size=None,  # a request is a whole batch
            sampler=self._requests,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.pinned,
            generator=torch.Generator(),  # or opening it would draw from the training's
        )

    def _planned(self, first: int) -> Iterator[Request]:
        others = self.others(self.epoch)
        for rows, global_size in self.shares(first):
            besides = np.unique(others[rows].numpy())
            yield Request(rows.numpy(), besides, self.split, self.epoch, global_size)


def default_workers(processes: int) -> int:
    """As many as there are cores for each of the processes of a run, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores // processes))
