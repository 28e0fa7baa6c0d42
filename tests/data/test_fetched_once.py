"""Ten jobs that start at once on a machine without data fetch them once; the network is a stub."""

import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from stnlab.data import mnist
from stnlab.data.torchvision_sets import Cifar10


def load_mnist_counted(origin: Path, root: Path, asked: Path) -> None:
    """What a job does, with a mirror that notes each of its visitors and takes its time."""

    def mirror(names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        with asked.open("a") as file:
            file.write("asked\n")
        time.sleep(0.5)
        for name in names:
            yield name, (origin / name).read_bytes()

    mnist._sources = lambda scratch: [("mirror", mirror)]
    train, _ = mnist.load_mnist(root)
    sys.exit(int(train.images.shape != (60000, 1, 28, 28)))


def test_mnist(mnist_root: Path, tmp_path: Path):
    asked, context = tmp_path / "asked", multiprocessing.get_context("fork")
    places = (mnist_root / "MNIST" / "raw", tmp_path / "data", asked)
    jobs = [context.Process(target=load_mnist_counted, args=places) for _ in range(10)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * 10
    assert asked.read_text() == "asked\n"


def test_what_torchvision_unpacks_file_by_file(tmp_path: Path):
    """Whoever sees a part of it, which looks like a smaller dataset, waits for the rest."""
    asked: list[int] = []

    class Slow(Cifar10):
        sizes = (20, 10)

        def _open(self, root: Path, train: bool, download: bool) -> Any:
            path = root / f"{'train' if train else 'test'}.npy"
            if download and not path.exists():
                asked.append(1)
                for size in (5, 20 if train else 10):
                    np.save(path.with_suffix(".part.npy"), np.zeros((size, 32, 32, 3), np.uint8))
                    path.with_suffix(".part.npy").replace(path)
                    time.sleep(0.2)
            images = np.load(path)
            return SimpleNamespace(data=images, targets=[0] * len(images))

        def _fault(self, root: Path) -> str | None:
            return None if (root / "test.npy").exists() else f"{root}: is missing"

    def load(start: float) -> tuple[int, int]:
        time.sleep(start)
        train, test = Slow().load(tmp_path)
        return len(train.labels), len(test.labels)

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(load, np.linspace(0, 0.8, 10))) == [(20, 10)] * 10
    assert len(asked) == 2
