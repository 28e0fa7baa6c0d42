"""A dataset with its distortion as a LightningDataModule."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from torch import Tensor

from stnlab.data.batch import Batch, RawBatch, Split
from stnlab.data.dataset import Dataset
from stnlab.data.distortion import Distortion, bounding_boxes
from stnlab.data.loader import Loader, TensorLoader
from stnlab.data.ranges import Lazily, Parameters
from stnlab.data.raw import RawImages, in_memory, read_images
from stnlab.data.streaming import StreamingLoader, default_workers
from stnlab.errors import StnlabError
from stnlab.geometry.maps import PointMap
from stnlab.seeds import generator

Size = Annotated[int, Ge(1)] | None
OWN_OR = "own or "


def _meaning(size: Any) -> Any:
    """A validation size if it means one: in one sentence, which a union of types would not give."""
    if size is None or (type(size) is int and size >= 0):
        return size
    if isinstance(size, str) and re.fullmatch(OWN_OR + "[1-9][0-9]*", size):
        return size
    raise PydanticCustomError(
        "validation_size", "should be greater than or equal to 0, null, or like '{o}500'", {"o": OWN_OR}
    )


ValidationSize = Annotated[int | str | None, BeforeValidator(_meaning)]
BOXES_AT_ONCE = 1000
OTHERS = ("partner", "clutter_source")
"""Drawn parameters that are rows of other images."""
FULL = (-1.0, -1.0, 1.0, 1.0)


@dataclass(frozen=True)
class _Table:
    """What was drawn in an epoch for each object of all samples; on the device.

    maps: those to the canonical pose; None where most samples are not of the split. others: on the CPU, the rows [D, K]
    of all other images that it shows.
    """

    epoch: int
    drawn: Sequence[Parameters]
    maps: list[PointMap] | None
    others: Tensor


class ImageData(pl.LightningDataModule):
    """Images, in memory on the training device or decoded as they are needed; distorted there batch by batch.

    root: folder of the files. test_distortion: what differs from the distortion for test images, such as
    {rotation: [-180, 180]}; None: nothing. train_size, test_size: samples to use of each (None: all; fewer are a fixed
    random choice). validation_size: samples held out of the training set; None: the dataset's own validation images;
    "own or 500": these if there are any, else so many held out. seed: the data's own, which draws the splits and the
    validation and test poses, the same for every run.
    training_seed: the run's, which draws the order and the poses of training, new ones each epoch. batch_size: global;
    eval_batch_size: the same for validation and test.

    memory_gib: the most that all images may take, decoded, to lie in the device's memory. Those of a larger dataset are
    decoded by `workers` processes (None: one for each core, at most 8; 0: by this one). Neither changes a result.
    """

    def __init__(
        self,
        root: str,
        dataset: Dataset,
        distortion: Distortion,
        train_size: Size,
        validation_size: ValidationSize,
        test_size: Size,
        seed: int,
        training_seed: int,
        batch_size: int,
        eval_batch_size: int,
        test_distortion: dict[str, Any] | None = None,
        memory_gib: Annotated[float, Ge(0)] = 4.0,
        workers: Annotated[int, Ge(0)] | None = None,
    ) -> None:
        super().__init__()
        self.root, self.dataset, self.distortion = Path(root).expanduser(), dataset, distortion
        self.test_distortion = distortion.changed(test_distortion or {}, "data.test_distortion")
        self.train_size, self.validation_size, self.test_size = train_size, validation_size, test_size
        self.seed, self.training_seed = seed, training_seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.memory_gib, self.workers = memory_gib, workers
        self.image_shape = (dataset.objects * dataset.channels, distortion.size, distortion.size)
        self.mean, self.std = (torch.tensor(values * dataset.objects) for values in (dataset.mean, dataset.std))
        self._around = None if dataset.background is None else torch.tensor(dataset.background)
        if dataset.sizes:
            self._check_sizes(*dataset.sizes, self._held_out(0))
        self._read: tuple[RawImages, RawImages] | None = None
        self._tables: dict[Split, _Table] = {}
        self._labels: dict[str, Tensor] = {}
        self._boxes: dict[str, Tensor] = {}
        self._widths: dict[str, int] = {}
        self._images: dict[str, Tensor] = {}  # if all are in memory; else _raw
        self._raw: dict[str, RawImages] = {}
        self._streaming: list[StreamingLoader] = []

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
        """Fetch the files; one process of a machine does this before any reads them. A second call does nothing.

        Raises StnlabError if there are fewer images than were asked for, or labels that no class has.
        """
        if self._read is None and not hasattr(self, "rows"):
            train, test = self._read = self._load()
            self._split(len(train.labels) - train.held_out, train.held_out, len(test.labels))

    def setup(self, stage: str = "fit", device: torch.device | None = None) -> None:
        """Read everything that fits to the device: the trainer's unless one is given. A second call does nothing."""
        if hasattr(self, "rows"):
            return
        self.device = device or (self.trainer.strategy.root_device if self.trainer else torch.device("cpu"))
        # What this process has just read to see that it is there is not read, or decoded, again.
        train, test = self._read or self._load()
        self._read = None
        self.rows = self._split(len(train.labels) - train.held_out, train.held_out, len(test.labels))
        for name, raw in (("train", train), ("test", test)):
            self._labels[name] = torch.from_numpy(raw.labels).reshape(len(raw.labels), -1).to(self.device)
            self._widths[name] = raw.images.shape[3]
            if self.streams:
                self._raw[name] = raw
            else:
                self._images[name] = torch.from_numpy(in_memory(raw.images)).to(self.device)
        self.mean, self.std = self.mean.to(self.device), self.std.to(self.device)
        self._around = None if self._around is None else self._around.to(self.device)

    def teardown(self, stage: str) -> None:
        """End the worker processes."""
        for loader in self._streaming:
            loader.close()
        self._streaming = []

    def train_dataloader(self) -> Loader:
        return self.loader("train")

    def val_dataloader(self) -> Loader | list[Loader]:
        return self.loader("val") if self.validates else []

    def test_dataloader(self) -> list[Loader]:
        """The test split and, since final results cover both, the validation split."""
        return [self.loader("test")] + ([self.loader("val")] if self.validates else [])

    def loader(self, split: Split) -> Loader:
        """Raw batches of a split: the share of this process, if a trainer runs several."""
        size = self.batch_size if split == "train" else self.eval_batch_size
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        workers = default_workers(world) if self.workers is None else self.workers
        loader = self._loader(split, self.rows[split], size, rank, world, workers)
        if isinstance(loader, StreamingLoader):
            self._streaming.append(loader)
        return loader

    def first(self, split: Split, count: int) -> RawBatch:
        """A batch of the first samples of a split, on the device."""
        return self.picked(split, self.rows[split][:count])

    def picked(self, split: Split, rows: Tensor) -> RawBatch:
        """These rows [N] of the images of a split, validation or test in this order, in one batch on the device."""
        batch = next(iter(self._loader(split, rows, len(rows), rank=0, world=1, workers=0)))
        return batch.to(self.device)

    def _loader(self, split: Split, rows: Tensor, size: int, rank: int, world: int, workers: int) -> Loader:
        store = _store(split)
        share = (rows, split, size, self.training_seed, rank, world)
        if not self.streams:
            return TensorLoader(self._images[store], self._labels[store], *share)
        return StreamingLoader(
            self._raw[store],
            *share,
            others=lambda epoch: self._table(split, epoch).others,
            workers=workers,
            pinned=self.device.type == "cuda",
        )

    def transfer_batch_to_device(self, batch: RawBatch, device: torch.device, dataloader_idx: int) -> RawBatch:
        return batch.to(device)

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int = 0) -> Batch:
        return self.distort(batch)

    def distort(self, raw: RawBatch) -> Batch:
        """Look each sample's pose up, warp once, normalise."""
        drawn, maps = self._drawn(raw), self._table(raw.split, raw.epoch).maps
        if maps is None:
            return self._distorted(raw, drawn, drawn, [self._distortion(raw.split).poses(one) for one in drawn])
        return self._distorted(raw, drawn, drawn, [poses.select(raw.indices) for poses in maps])

    def posed(self, raw: RawBatch, rotation: float = 0.0, scale: float = 1.0) -> Batch:
        """As `distort`, but all in the canonical pose, turned by `rotation` degrees and scaled about the centre.

        Clutter and noise stay as they were drawn. Of data whose canonical pose nobody knows it is the stored image's.
        """
        drawn = self._drawn(raw)
        distortion = self._distortion(raw.split)
        moved = [distortion.posed(parameters, rotation, scale) for parameters in drawn]
        return self._distorted(raw, drawn, moved, [distortion.poses(parameters) for parameters in moved])

    def _distorted(
        self, raw: RawBatch, drawn: Sequence[Parameters], moved: Sequence[Parameters], poses: list[PointMap]
    ) -> Batch:
        """drawn: for each object, the source of clutter and noise; moved, poses: the pose that it is to have."""
        distortion = self._distortion(raw.split)
        labels = self._labels[_store(raw.split)]
        parts = [
            distortion.disturb(distortion(source, pose, self._around), parameters, partial(self._stored, raw))
            for source, pose, parameters in zip(self._sources(raw, drawn), poses, drawn, strict=True)
        ]
        shown = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        image = (shown - self.mean[:, None, None]).div_(self.std[:, None, None])
        own = [raw.labels, *(labels[parameters["partner"]] for parameters in drawn[1:])]
        label = self.dataset.combine(torch.stack(own, dim=1))
        if not (self.dataset.posed or distortion.moves):
            return Batch(image, label, raw.indices, None, {}, raw.split, raw.global_size)
        per_object = Lazily(
            distortion.pose_names, lambda name: torch.stack([parameters[name] for parameters in moved], dim=1)
        )
        return Batch(image, label, raw.indices, tuple(poses), per_object, raw.split, raw.global_size)

    def undistorted(self, raw: RawBatch) -> Tensor:
        """The images that `distort` starts from, uint8 [N, C, h, w], one object's channels after the other's."""
        return torch.cat(self._sources(raw, self._drawn(raw)), dim=1)

    def _sources(self, raw: RawBatch, drawn: Sequence[Parameters]) -> list[Tensor]:
        """The image of each object: the sample's own, then its partners'."""
        return [raw.images, *(self._stored(raw, parameters["partner"]) for parameters in drawn[1:])]

    def _stored(self, raw: RawBatch, rows: Tensor) -> Tensor:
        """Images as they are stored, uint8 [*rows, C, h, w]: from memory, or from what came along with the batch."""
        if raw.others is None or raw.other_rows is None:
            return self._images[_store(raw.split)][rows]
        return raw.others[torch.searchsorted(raw.other_rows, rows)]

    def _drawn(self, raw: RawBatch) -> list[Parameters]:
        """What was drawn for each object of these samples."""

        def of_samples(table: Parameters) -> Parameters:
            return Lazily(table, lambda name: table[name][raw.indices])

        return [of_samples(table) for table in self._table(raw.split, raw.epoch).drawn]

    def _distortion(self, split: Split) -> Distortion:
        return self.test_distortion if split == "test" else self.distortion

    def _table(self, split: Split, epoch: int) -> _Table:
        """What was drawn for a split in an epoch."""
        if split not in self._tables or self._tables[split].epoch != epoch:
            drawn = [self._draw(split, epoch, number) for number in range(self.dataset.objects)]
            on_device = [{name: values.to(self.device) for name, values in table.items()} for table in drawn]
            others = [table[name].reshape(len(table[name]), -1) for table in drawn for name in OTHERS if name in table]
            nothing = torch.empty(len(self._labels[_store(split)]), 0, dtype=torch.int64)
            most = 2 * len(self.rows[split]) > len(nothing)
            maps = [self._distortion(split).poses(table) for table in on_device] if most else None
            self._tables[split] = _Table(epoch, on_device, maps, torch.cat([nothing, *others], dim=1))
        return self._tables[split]

    def _draw(self, split: Split, epoch: int, number: int) -> Parameters:
        """Everything random about the object `number` of each sample. Partners are samples of the same split."""
        rows, distortion = self.rows[split], self._distortion(split)
        boxes = self._find_boxes(_store(split), distortion)
        width = self._widths[_store(split)]
        seed = self.training_seed if split == "train" else self.seed
        key: tuple[int | str, ...] = (seed, split, epoch)
        drawn: dict[str, Tensor] = {}
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
        size = self._held_out(own)
        self._check_sizes(train, test, size)
        order = torch.randperm(train, generator=generator(self.seed, "split"))
        held = size or 0
        end = None if self.train_size is None else held + self.train_size
        tested = torch.randperm(test, generator=generator(self.seed, "test"))[: self.test_size]
        return {
            "val": torch.arange(train, train + own) if size is None else order[:held].sort().values,
            "train": order[held:end],
            "test": tested.sort().values,
        }

    def _held_out(self, own: int) -> int | None:
        """How many samples to hold out of the training set; None: none, for the validation images are the data's own.

        own: how many of these there are.
        """
        if not isinstance(self.validation_size, str):
            return self.validation_size
        return None if own else int(self.validation_size.removeprefix(OWN_OR))

    def _check_sizes(self, train: int, test: int, held: int | None) -> None:
        wanted = (held or 0) + (self.train_size or 1)
        if wanted > train:
            shown = "null" if self.train_size is None else self.train_size
            example = f", such as data.validation_size={train // 6}" if held else ""
            raise StnlabError(
                f"data.validation_size={held or 0} and data.train_size={shown} take more than the {train} training "
                f"images there are; give less{example}"
            )
        if (self.test_size or 0) > test:
            raise StnlabError(f"data.test_size={self.test_size}: there are {test} test images; give less or null")

    def _load(self) -> tuple[RawImages, RawImages]:
        """What the dataset yields, decoded if it fits in memory."""
        train, test = self.dataset.load(self.root)
        for raw in (train, test):
            self._check_labels(raw)
        self.streams = train.gib + test.gib > self.memory_gib
        if self.streams:
            return train, test
        train, test = (replace(raw, images=in_memory(raw.images)) for raw in (train, test))
        return train, test

    def _check_labels(self, raw: RawImages) -> None:
        """On a GPU a label too large ends this process and all jobs that it has left to do."""
        least, largest, classes = raw.labels.min(initial=0), raw.labels.max(initial=0), self.dataset.classes
        if least < 0 or largest >= classes:
            raise StnlabError(
                f"{self.root}: holds labels from {least} to {largest}; of the {classes} classes of "
                f"{type(self.dataset).__name__} they should be from 0 to {classes - 1}"
            )

    def _find_boxes(self, store: str, distortion: Distortion) -> Tensor:
        """Of each object [D, 4], on the CPU. Where something lies around an image it is an object as a whole.

        Only the draw of a place needs them; for images that are not in memory this decodes them all, once.
        """
        count = len(self._labels[store])
        if distortion.position != "anywhere" or self._around is not None:
            return torch.tensor(FULL).expand(count, 4)
        if store not in self._boxes and not self.streams:
            self._boxes[store] = bounding_boxes(self._images[store].cpu())
        elif store not in self._boxes:
            images = self._raw[store].images
            parts = [range(first, min(first + BOXES_AT_ONCE, count)) for first in range(0, count, BOXES_AT_ONCE)]
            self._boxes[store] = torch.cat(
                [bounding_boxes(torch.from_numpy(read_images(images, rows))) for rows in parts]
            )
        return self._boxes[store]


def _store(split: Split) -> str:
    """Validation samples lie in the training set's files."""
    return "test" if split == "test" else "train"
