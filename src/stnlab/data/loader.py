"""Batches out of tensors in memory: no worker, no per-sample Python."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from stnlab.data.batch import RawBatch, Split
from stnlab.seeds import generator


class TensorLoader:
    """Batches of a split's samples, in a new order each epoch of training and in order of index otherwise.

    images [D, C, H, W] and labels [D, heads] of the whole dataset, rows [N] of it that make up this split. batch_size
    is global: each of `world` processes gets its share of every batch, every sample exactly once, the last batch
    smaller. The order is a function of (seed, epoch).
    """

    batch_sampler = None  # Lightning asks whoever has a sampler

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        rows: Tensor,
        split: Split,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.images, self.labels, self.rows, self.split = images, labels, rows, split
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.epoch = 0

    @property
    def sampler(self) -> "TensorLoader":
        """Lightning tells a loader's sampler each epoch's number."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[RawBatch]:
        rows = self.rows
        if self.split == "train":
            rows = rows[torch.randperm(len(rows), generator=generator(self.seed, self.epoch, "order"))]
        for batch in torch.split(rows, self.batch_size):
            index = batch[self.rank :: self.world].to(self.images.device)
            epoch = self.epoch if self.split == "train" else 0
            yield RawBatch(self.images[index], self.labels[index], index, self.split, epoch, len(batch))
