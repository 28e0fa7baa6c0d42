"""A dataset with its distortion as a LightningDataModule."""

from pathlib import Path
from typing import Annotated

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from torch import Tensor

from stnlab.data.batch import Batch, RawBatch, Split
from stnlab.data.dataset import Dataset
from stnlab.data.distortion import Distortion, Parameters, bounding_boxes
from stnlab.data.loader import TensorLoader
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError
from stnlab.seeds import generator

Size = Annotated[int, Ge(1)] | None


class ImageData(pl.LightningDataModule):
    """Images in memory on the training device, distorted there batch by batch.

    root: folder of the files. train_size, test_size: samples to use of each (None: all; fewer are a fixed random
    choice). validation_size: samples held out of the training set. seed: the data's own, which draws the splits and
    the validation and test poses, the same for every run. training_seed: the run's, which draws the order and the
    poses of training, new ones each epoch. batch_size: global; eval_batch_size: the same for validation and test.
    """

    def __init__(
        self,
        root: str,
        dataset: Dataset,
        distortion: Distortion,
        train_size: Size,
        validation_size: Annotated[int, Ge(0)],
        test_size: Size,
        seed: int,
        training_seed: int,
        batch_size: int,
        eval_batch_size: int,
    ) -> None:
        super().__init__()
        self.root, self.dataset, self.distortion = Path(root), dataset, distortion
        self.train_size, self.validation_size, self.test_size = train_size, validation_size, test_size
        self.seed, self.training_seed = seed, training_seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.image_shape = (dataset.channels, distortion.size, distortion.size)
        self.mean, self.std = torch.tensor(dataset.mean), torch.tensor(dataset.std)
        if dataset.sizes:
            self._check_sizes(*dataset.sizes)
        self._tables: dict[Split, tuple[int, Parameters]] = {}

    @property
    def background(self) -> Tensor:
        """[C]: what is outside an image, after normalisation."""
        return -self.mean / self.std

    def prepare_data(self) -> None:
        """Fetch the files; one process of a machine does this before any reads them."""
        self.dataset.load(self.root)

    def setup(self, stage: str = "fit", device: torch.device | None = None) -> None:
        """Read everything to the device: the trainer's unless one is given. The second call has nothing to do."""
        if hasattr(self, "rows"):
            return
        device = device or (self.trainer.strategy.root_device if self.trainer else torch.device("cpu"))
        train, test = self.dataset.load(self.root)
        self.rows = self._split(len(train.labels), len(test.labels))
        held = {"train": train, "test": test}
        self._stored = {name: self._to_device(raw, device) for name, raw in held.items()}
        self._boxes = {name: bounding_boxes(torch.from_numpy(raw.images)) for name, raw in held.items()}
        self.mean, self.std = self.mean.to(device), self.std.to(device)

    def train_dataloader(self) -> TensorLoader:
        return self.loader("train")

    def val_dataloader(self) -> TensorLoader | list[TensorLoader]:
        return self.loader("val") if self.validation_size else []

    def test_dataloader(self) -> list[TensorLoader]:
        """The test split and, since final results cover both, the validation split."""
        return [self.loader("test")] + ([self.loader("val")] if self.validation_size else [])

    def loader(self, split: Split) -> TensorLoader:
        """Raw batches of a split: the share of this process, if a trainer runs several."""
        images, labels = self._stored[_store(split)]
        size = self.batch_size if split == "train" else self.eval_batch_size
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return TensorLoader(images, labels, self.rows[split], split, size, self.training_seed, rank, world)

    def transfer_batch_to_device(self, batch: RawBatch, device: torch.device, dataloader_idx: int) -> RawBatch:
        return batch.to(device)

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int = 0) -> Batch:
        return self.distort(batch)

    def distort(self, raw: RawBatch) -> Batch:
        """Look each sample's pose up, warp once, normalise."""
        table = self._table(raw.split, raw.epoch)
        parameters = {name: values[raw.indices] for name, values in table.items()}
        poses = self.distortion.poses(parameters)
        image = self.distortion(raw.images, poses)
        image = (image - self.mean[:, None, None]) / self.std[:, None, None]
        per_object = {name: values[:, None] for name, values in parameters.items()}
        return Batch(image, raw.labels, raw.indices, (poses,), per_object, raw.split, raw.global_size)

    def _table(self, split: Split, epoch: int) -> Parameters:
        """The poses of all samples of a split in an epoch, on the device."""
        if self._tables.get(split, (None,))[0] != epoch:
            store = _store(split)
            images, _ = self._stored[store]
            seed = self.training_seed if split == "train" else self.seed
            canvas = images.shape[3] / self.distortion.size
            drawn = self.distortion.draw(self._boxes[store], canvas, seed, split, epoch)
            self._tables[split] = (epoch, {name: values.to(images.device) for name, values in drawn.items()})
        return self._tables[split][1]

    def _split(self, train: int, test: int) -> dict[Split, Tensor]:
        """Rows of each split. The first in a fixed random order are held out, so that train_size leaves them be."""
        self._check_sizes(train, test)
        order = torch.randperm(train, generator=generator(self.seed, "split"))
        end = None if self.train_size is None else self.validation_size + self.train_size
        tested = torch.randperm(test, generator=generator(self.seed, "test"))[: self.test_size]
        return {
            "val": order[: self.validation_size].sort().values,
            "train": order[self.validation_size : end],
            "test": tested.sort().values,
        }

    def _check_sizes(self, train: int, test: int) -> None:
        wanted = self.validation_size + (self.train_size or 1)
        if wanted > train:
            raise StnlabError(
                f"data.validation_size={self.validation_size} and data.train_size={self.train_size} take more than "
                f"the {train} training images there are; give less"
            )
        if (self.test_size or 0) > test:
            raise StnlabError(f"data.test_size={self.test_size}: there are {test} test images; give less or null")

    @staticmethod
    def _to_device(raw: RawImages, device: torch.device) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(raw.labels)
        return torch.from_numpy(raw.images).to(device), labels.reshape(len(labels), -1).to(device)


def _store(split: Split) -> str:
    """Validation samples lie in the training set's files."""
    return "test" if split == "test" else "train"
