"""Batches out of tensors in memory: no worker, no per-sample Python."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from stnlab.data.batch import RawBatch, Split
from stnlab.seeds import generator


class Loader(ABC):
    """Batches of a split's samples, in a new order each epoch of training and in order of index otherwise.

    rows [N] of the whole dataset that make up this split. batch_size is global: each of `world` processes gets its
    share of every batch, every sample exactly once, the last batch smaller. The order is a function of (seed, epoch).
    """

    batch_sampler = None  # Lightning asks whoever has a sampler

    def __init__(
        self, rows: Tensor, split: Split, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.rows, self.split = rows, split
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.epoch = 0
        self.given, self.skipped = 0, 0

    @property
    def sampler(self) -> "Loader":
        """Lightning tells a loader's sampler each epoch's number."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch if self.split == "train" else 0

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[RawBatch]:
        """The batches of an epoch; of one that was interrupted, those that are left."""
        self.given, self.skipped = self.skipped, 0
        for batch in self.batches(self.given):
            self.given += 1
            yield batch

    @abstractmethod
    def batches(self, first: int) -> Iterator[RawBatch]:
        """Those of this epoch from number `first` on."""

    def state_dict(self) -> dict[str, int]:
        """How many batches of an epoch were given: Lightning puts it into its checkpoints."""
        return {"given": self.given % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skipped = state["given"]

    def shares(self, first: int, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, int]]:
        """Of each batch from number `first` on the rows that fall to this process, and how many fall to all.

        device: where the rows lie, moved once an epoch; a GPU waits for each copy all that it was given before.
        """
        rows = self.rows
        if self.split == "train":
            rows = rows[torch.randperm(len(rows), generator=generator(self.seed, self.epoch, "order"))]
        for batch in torch.split(rows.to(device), self.batch_size)[first:]:
            yield batch[self.rank :: self.world], len(batch)


class TensorLoader(Loader):
    """Batches out of the images [D, C, H, W] and labels [D, heads] of the whole dataset, on their device."""

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
        super().__init__(rows, split, batch_size, seed, rank, world)
        self.images, self.labels = images, labels

    def batches(self, first: int) -> Iterator[RawBatch]:
        for index, global_size in self.shares(first, self.images.device):
            yield RawBatch(self.images[index], self.labels[index], index, self.split, self.epoch, global_size)
