"""Images decoded as they are needed: the same batches as out of memory."""

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stnlab.data.batch import RawBatch
from stnlab.data.dataset import Dataset, Mnist, MnistAddition
from stnlab.data.distortion import Distortion
from stnlab.data.folder import Folder
from stnlab.data.module import ImageData
from stnlab.data.pictures import Pictures
from stnlab.data.raw import GIB, RawImages, in_memory
from stnlab.data.streaming import Reader, Request, StreamingLoader
from stnlab.errors import StnlabError

BUSY = Distortion(
    size=40, rotation=[-30, 30], scale=[0.7, 1], position="anywhere", elastic=1, clutter=[2, 4], noise=[0, 0.1]
)
PLAIN = Distortion(size=16, rotation=[0, 0], scale=[1, 1])


class OnDemand:
    """MNIST's digits one by one."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.shape = images.shape

    def __getitem__(self, row: int) -> np.ndarray:
        return self.images[row]


class OnDemandAddition(MnistAddition):
    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        train, test = (RawImages(OnDemand(raw.images[:600]), raw.labels[:600]) for raw in Mnist().load(root))
        return train, test

    sizes = None


def data_of(root: Path, dataset: Dataset, distortion: Distortion, **changes: Any) -> ImageData:
    choice: dict[str, Any] = {"train_size": None, "validation_size": 100, "test_size": 90, "seed": 0}
    choice |= {"training_seed": 3, "batch_size": 64, "eval_batch_size": 50}
    data = ImageData(str(root), dataset, distortion, **(choice | changes))
    data.setup()
    return data


def batches(data: ImageData, split: Any, rank: int, world: int) -> list[tuple[Any, ...]]:
    """Everything about the batches of two epochs, the first broken off and started anew."""
    loader = data.loader(split)
    loader.rank, loader.world = rank, world
    next(iter(loader))
    found = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        for raw in loader:
            batch = data.distort(data.transfer_batch_to_device(raw, data.device, 0))
            found.append((batch.image, batch.label, batch.index, batch.pose_parameters, batch.global_size))
    data.teardown("fit")
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_streamed_batches_are_those_out_of_memory_to_the_last_bit(
    workers: int, rank: int, world: int, mnist_root: Path
):
    held = data_of(mnist_root, OnDemandAddition(), BUSY)
    streamed = data_of(mnist_root, OnDemandAddition(), BUSY, memory_gib=0, workers=workers)
    assert (held.streams, streamed.streams) == (False, True)
    for split in ("train", "val", "test"):
        pairs = zip(batches(streamed, split, rank, world), batches(held, split, rank, world), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert torch.equal(streamed.undistorted(streamed.first("val", 5)), held.undistorted(held.first("val", 5)))


def write_folder(root: Path, count: int = 12) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        path = root / "ab"[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)


def test_what_does_not_fit_is_decoded_only_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_folder(tmp_path)
    decoded: list[int] = []
    original = Pictures.__getitem__
    monkeypatch.setattr(Pictures, "__getitem__", lambda self, row: (decoded.append(row), original(self, row))[1])
    size = 12 * 3 * 16 * 16 / GIB
    choice: dict[str, Any] = {"validation_size": 0, "test_size": None, "batch_size": 4, "workers": 0}
    shifting = Distortion(size=16, rotation=[0, 0], scale=[0.5, 0.5], position="anywhere")
    large = data_of(tmp_path, Folder("tiny", 2, 16, 0.25, 0), shifting, memory_gib=size * 0.99, **choice)
    assert large.streams
    assert decoded == []
    raw = next(iter(large.loader("train")))
    assert decoded == raw.indices.tolist()
    small = data_of(tmp_path, Folder("tiny", 2, 16, 0.25, 0), shifting, memory_gib=size, **choice)
    assert not small.streams
    assert torch.equal(large.distort(raw).image, small.distort(next(iter(small.loader("train")))).image)


def test_a_damaged_image_is_one_line_from_a_worker_too(tmp_path: Path):
    write_folder(tmp_path)
    data = data_of(
        tmp_path, Folder("tiny", 2, 16, 0.25, 0), PLAIN, validation_size=0, test_size=None, memory_gib=0, workers=1
    )
    for path in tmp_path.glob("*/*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(StnlabError, match=r"\.jpg: cannot be read .*; put an intact image there$") as caught:
        list(data.loader("train"))
    assert "\n" not in str(caught.value)
    data.teardown("fit")
    (tmp_path / "a" / "00.jpg").unlink()
    with pytest.raises(StnlabError, match=r"00\.jpg: is missing"):
        Pictures([tmp_path / "a" / "00.jpg"], 16)


def test_workers_live_until_the_end_and_then_end(mnist_root: Path):
    data = data_of(mnist_root, OnDemandAddition(), BUSY, memory_gib=0, workers=2)
    loader = data.loader("train")
    before = set(multiprocessing.active_children())
    list(loader)
    first = set(multiprocessing.active_children()) - before
    list(loader)
    assert set(multiprocessing.active_children()) - before == first
    assert len(first) == 2
    data.teardown("fit")
    assert not set(multiprocessing.active_children()) - before


def test_what_a_worker_has_can_be_sent_to_it(tmp_path: Path):
    """Where processes are not forked."""
    write_folder(tmp_path)
    raw, _ = Folder("tiny", 2, 16, 0.25, 0).load(tmp_path)
    request = Request(np.array([2, 0]), np.array([1]), "train", 0, 2)
    ours, sent = Reader(raw)[request], pickle.loads(pickle.dumps(Reader(raw)))[request]
    assert isinstance(ours, RawBatch)
    assert isinstance(sent, RawBatch)
    assert ours.indices.tolist() == sent.indices.tolist() == [2, 0]
    assert torch.equal(sent.images, ours.images)
    assert torch.equal(sent.others, ours.others)


def test_opening_a_stream_draws_nothing_from_the_trainings_random_numbers(mnist_root: Path):
    data = data_of(mnist_root, OnDemandAddition(), BUSY, memory_gib=0, workers=1)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    loader = data.loader("test")
    assert isinstance(loader, StreamingLoader)
    list(loader)
    assert torch.equal(torch.rand(3), expected)
    data.teardown("fit")


def test_an_image_of_another_shape_is_one_line():
    images = OnDemand(np.zeros((2, 1, 4, 4), dtype=np.uint8))
    images.shape = (2, 3, 4, 4)
    with pytest.raises(StnlabError, match=r"OnDemand: image \d is uint8 of shape \(1, 4, 4\); all must be"):
        in_memory(images)
