"""A dataset with its distortion as a LightningDataModule."""

from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from torch import Tensor

from stnlab.data.batch import Batch, RawBatch, Split
from stnlab.data.dataset import Dataset
from stnlab.data.distortion import Distortion, bounding_boxes
from stnlab.data.loader import TensorLoader
from stnlab.data.ranges import Parameters
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError
from stnlab.seeds import generator

Size = Annotated[int, Ge(1)] | None


class ImageData(pl.LightningDataModule):
    """Images in memory on the training device, distorted there batch by batch.

    root: folder of the files. test_distortion: what differs from the distortion for test images, such as
    {rotation: [-180, 180]}; None: nothing. train_size, test_size: samples to use of each (None: all; fewer are a fixed
    random choice). validation_size: samples held out of the training set; None: the dataset's own validation images.
    seed: the data's own, which draws the splits and the validation and test poses, the same for every run.
    training_seed: the run's, which draws the order and the poses of training, new ones each epoch. batch_size: global;
    eval_batch_size: the same for validation and test.
    """

    def __init__(
        self,
        root: str,
        dataset: Dataset,
        distortion: Distortion,
        train_size: Size,
        validation_size: Annotated[int, Ge(0)] | None,
        test_size: Size,
        seed: int,
        training_seed: int,
        batch_size: int,
        eval_batch_size: int,
        test_distortion: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.root, self.dataset, self.distortion = Path(root), dataset, distortion
        self.test_distortion = distortion.changed(test_distortion or {}, "data.test_distortion")
        self.train_size, self.validation_size, self.test_size = train_size, validation_size, test_size
        self.seed, self.training_seed = seed, training_seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.image_shape = (dataset.objects * dataset.channels, distortion.size, distortion.size)
        self.mean, self.std = (torch.tensor(values * dataset.objects) for values in (dataset.mean, dataset.std))
        self._around = None if dataset.background is None else torch.tensor(dataset.background)
        if dataset.sizes:
            self._check_sizes(*dataset.sizes)
        self._read: tuple[RawImages, RawImages] | None = None
        self._tables: dict[Split, tuple[int, list[Parameters]]] = {}

    @property
    def background(self) -> Tensor:
        """[C]: what is outside an image, after normalisation."""
        around = 0 if self._around is None else self._around.repeat(self.dataset.objects)
        return (around - self.mean) / self.std

    @property
    def validates(self) -> bool:
        """Whether there is a validation split: held out, or the dataset's own."""
        return self.validation_size != 0

    def prepare_data(self) -> None:
        """Fetch the files; one process of a machine does this before any reads them."""
        self._read = self.dataset.load(self.root)

    def setup(self, stage: str = "fit", device: torch.device | None = None) -> None:
        """Read everything to the device: the trainer's unless one is given. The second call has nothing to do."""
        if hasattr(self, "rows"):
            return
        device = device or (self.trainer.strategy.root_device if self.trainer else torch.device("cpu"))
        # What this process has just read to see that it is there is not read, or decoded, again.
        train, test = self._read or self.dataset.load(self.root)
        self._read = None
        self.rows = self._split(len(train.labels) - train.held_out, train.held_out, len(test.labels))
        held = {"train": train, "test": test}
        self._stored = {name: self._to_device(raw, device) for name, raw in held.items()}
        self._boxes = {name: bounding_boxes(torch.from_numpy(raw.images)) for name, raw in held.items()}
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        self._around = None if self._around is None else self._around.to(device)

    def train_dataloader(self) -> TensorLoader:
        return self.loader("train")

    def val_dataloader(self) -> TensorLoader | list[TensorLoader]:
        return self.loader("val") if self.validates else []

    def test_dataloader(self) -> list[TensorLoader]:
        """The test split and, since final results cover both, the validation split."""
        return [self.loader("test")] + ([self.loader("val")] if self.validates else [])

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
        drawn = self._drawn(raw)
        return self._distorted(raw, drawn, drawn)

    def posed(self, raw: RawBatch, rotation: float = 0.0, scale: float = 1.0) -> Batch:
        """As `distort`, but all in the canonical pose, turned by `rotation` degrees and scaled about the centre.

        Clutter and noise stay as they were drawn. Of data whose canonical pose nobody knows it is the stored image's.
        """
        drawn = self._drawn(raw)
        moved = [self._distortion(raw.split).posed(parameters, rotation, scale) for parameters in drawn]
        return self._distorted(raw, drawn, moved)

    def picked(self, split: Split, rows: Tensor) -> RawBatch:
        """These rows of a split's images [N], in this order, in one batch of this process."""
        images, labels = self._stored[_store(split)]
        index = rows.to(images.device)
        return RawBatch(images[index], labels[index], index, split, 0, len(index))

    def _distorted(self, raw: RawBatch, drawn: list[Parameters], moved: list[Parameters]) -> Batch:
        """drawn: for each object, the source of clutter and noise; moved: the same in the pose that it is to have."""
        distortion = self._distortion(raw.split)
        stored, labels = self._stored[_store(raw.split)]
        poses = tuple(distortion.poses(parameters) for parameters in moved)
        parts = [
            distortion.disturb(distortion(source, pose, self._around), parameters, stored)
            for source, pose, parameters in zip(self._sources(raw, drawn), poses, drawn, strict=True)
        ]
        image = (torch.cat(parts, dim=1) - self.mean[:, None, None]) / self.std[:, None, None]
        own = [raw.labels, *(labels[parameters["partner"]] for parameters in drawn[1:])]
        label = self.dataset.combine(torch.stack(own, dim=1))
        if not (self.dataset.posed or distortion.moves):
            return Batch(image, label, raw.indices, None, {}, raw.split, raw.global_size)
        per_object = {
            name: torch.stack([parameters[name] for parameters in moved], dim=1) for name in distortion.pose_names
        }
        return Batch(image, label, raw.indices, poses, per_object, raw.split, raw.global_size)

    def undistorted(self, raw: RawBatch) -> Tensor:
        """The images that `distort` starts from, uint8 [N, C, h, w], one object's channels after the other's."""
        return torch.cat(self._sources(raw, self._drawn(raw)), dim=1)

    def _sources(self, raw: RawBatch, drawn: list[Parameters]) -> list[Tensor]:
        """The image of each object: the sample's own, then its partners'."""
        stored, _ = self._stored[_store(raw.split)]
        return [raw.images, *(stored[parameters["partner"]] for parameters in drawn[1:])]

    def _drawn(self, raw: RawBatch) -> list[Parameters]:
        """What was drawn for each object of these samples."""
        tables = self._table(raw.split, raw.epoch)
        return [{name: values[raw.indices] for name, values in table.items()} for table in tables]

    def _distortion(self, split: Split) -> Distortion:
        return self.test_distortion if split == "test" else self.distortion

    def _table(self, split: Split, epoch: int) -> list[Parameters]:
        """What was drawn for each object of all samples of a split in an epoch, on the device."""
        if self._tables.get(split, (None,))[0] != epoch:
            device = self._stored[_store(split)][0].device
            drawn = [self._draw(split, epoch, number) for number in range(self.dataset.objects)]
            on_device = [{name: values.to(device) for name, values in table.items()} for table in drawn]
            self._tables[split] = (epoch, on_device)
        return self._tables[split][1]

    def _draw(self, split: Split, epoch: int, number: int) -> Parameters:
        """Everything random about the object `number` of each sample. Partners are samples of the same split."""
        boxes, rows, distortion = self._boxes[_store(split)], self.rows[split], self._distortion(split)
        width = self._stored[_store(split)][0].shape[3]
        seed = self.training_seed if split == "train" else self.seed
        key: tuple[int | str, ...] = (seed, split, epoch)
        drawn: Parameters = {}
        if number:
            key = (*key, "object", number)
            drawn["partner"] = rows[torch.randint(len(rows), (len(boxes),), generator=generator(*key, "partner"))]
            boxes = boxes[drawn["partner"]]
        drawn |= distortion.draw(boxes, width / distortion.size, *key)
        return drawn | distortion.draw_disturbance(len(boxes), rows, *key)

    def _split(self, train: int, own: int, test: int) -> dict[Split, Tensor]:
        """Rows of each split. The first in a fixed random order are held out, so that train_size leaves them be.

        own: images of the dataset's own validation set, which lie after those to train with.
        """
        if self.validation_size is None and not own:
            raise StnlabError("data.validation_size=null: this data has no validation images of its own; give a number")
        self._check_sizes(train, test)
        order = torch.randperm(train, generator=generator(self.seed, "split"))
        held = self.validation_size or 0
        end = None if self.train_size is None else held + self.train_size
        tested = torch.randperm(test, generator=generator(self.seed, "test"))[: self.test_size]
        return {
            "val": torch.arange(train, train + own) if self.validation_size is None else order[:held].sort().values,
            "train": order[held:end],
            "test": tested.sort().values,
        }

    def _check_sizes(self, train: int, test: int) -> None:
        wanted = (self.validation_size or 0) + (self.train_size or 1)
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
