"""Datasets that torchvision fetches and reads. torchvision is imported late: it takes seconds."""

from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge
from filelock import FileLock

from stnlab.data.dataset import Dataset, Extra
from stnlab.data.pictures import Pictures, reason
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError


class TorchvisionSet(Dataset):
    """Files in torchvision's layout, fetched by torchvision if they are missing or damaged."""

    folder: str
    """Where the files lie under the root."""

    @abstractmethod
    def _open(self, root: Path, train: bool, download: bool) -> Any:
        """torchvision's dataset. Whatever it raises becomes one line."""

    @abstractmethod
    def _raw(self, opened: Any) -> RawImages: ...

    @abstractmethod
    def _fault(self, root: Path) -> str | None:
        """`<path>: <what is wrong>` of the first file that is missing, truncated or wrong."""

    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        try:
            splits = self._read(root, download=False)
        except Exception as error:
            fault = self._fault(root)
            if fault is None:
                raise StnlabError(f"{root / self.folder}: cannot be read ({reason(error)})") from error
            splits = self._fetch(root, fault)
        if self.sizes not in (None, _sizes(splits)):
            with suppress(OSError), self._lock(root):  # another process may be unpacking, unless one can only read here
                splits = self._read(root, download=False)
        if self.sizes not in (None, _sizes(splits)):
            found = _sizes(splits)
            raise StnlabError(f"{root / self.folder}: holds {found} images to train and test with, not {self.sizes}")
        return splits

    def _lock(self, root: Path) -> FileLock:
        return FileLock(root / f".{type(self).__name__.lower()}.lock")

    def _fetch(self, root: Path, fault: str) -> tuple[RawImages, RawImages]:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with self._lock(root):
                return self._read(root, download=True)
        except StnlabError:
            raise
        except Exception as error:
            raise StnlabError(
                f"{self._fault(root) or fault}, and fetching it failed ({reason(error)}); put an intact one there"
            ) from error

    def _read(self, root: Path, download: bool) -> tuple[RawImages, RawImages]:
        train, test = (self._raw(self._open(root, train, download)) for train in (True, False))
        return train, test


def _sizes(splits: tuple[RawImages, RawImages]) -> tuple[int, ...]:
    return tuple(len(raw.labels) for raw in splits)


class _IdxSet(TorchvisionSet):
    """28x28 grey images in MNIST's format."""

    channels = 1

    def _prefixes(self) -> tuple[str, str]:
        return "train", "t10k"

    def _raw(self, opened: Any) -> RawImages:
        return RawImages(opened.data.numpy()[:, None], opened.targets.numpy().astype(np.int64))

    def _fault(self, root: Path) -> str | None:
        names = [f"{split}-{kind}-ubyte" for split in self._prefixes() for kind in ("images-idx3", "labels-idx1")]
        faults = ((path, _idx_fault(path)) for path in (root / self.folder / name for name in names))
        return next((f"{path}: {fault}" for path, fault in faults if fault), None)


def _idx_fault(path: Path) -> str | None:
    """What is wrong with an IDX file of bytes: two zeros, 8, the number of dimensions, then each as four bytes."""
    if not path.is_file():
        return "is missing"
    with path.open("rb") as file:
        header = file.read(16)
    count = header[3] if header[:3] == b"\0\0\x08" and len(header) > 3 else 0
    dimensions = np.frombuffer(header[4 : 4 + 4 * count], dtype=">u4") if len(header) >= 4 + 4 * count else ()
    if not 1 <= count == len(dimensions):
        return "is no IDX file of bytes"
    expected = 4 + 4 * len(dimensions) + int(np.prod(dimensions, dtype=np.int64))
    size = path.stat().st_size
    return None if size == expected else f"has {size} bytes, and its header says {expected}"


class FashionMnist(_IdxSet):
    """Xiao, Rasul and Vollgraf 2017: 60,000 and 10,000 articles of clothing, 28x28, grey, on black."""

    sizes = (60_000, 10_000)
    classes = 10
    mean, std = (0.2860,), (0.3530,)
    folder = "FashionMNIST/raw"

    def _open(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision.datasets import FashionMNIST  # type: ignore[import-untyped]

        return FashionMNIST(root, train, download=download)


class Kmnist(_IdxSet):
    """Clanuwat et al. 2018: 60,000 and 10,000 cursive Japanese characters, 28x28, grey, on black."""

    sizes = (60_000, 10_000)
    classes = 10
    mean, std = (0.1918,), (0.3483,)
    folder = "KMNIST/raw"

    def _open(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision.datasets import KMNIST

        return KMNIST(root, train, download=download)


class Emnist(_IdxSet):
    """Cohen et al. 2017: handwritten digits and letters, 28x28, grey, on black.

    split: which of the six ways to choose and name the classes. Mean and standard deviation are `byclass`'s.
    """

    mean, std = (0.1736,), (0.3317,)
    folder = "EMNIST/raw"
    splits: ClassVar = {
        "byclass": (62, (697_932, 116_323)),
        "bymerge": (47, (697_932, 116_323)),
        "balanced": (47, (112_800, 18_800)),
        "letters": (26, (124_800, 20_800)),
        "digits": (10, (240_000, 40_000)),
        "mnist": (10, (60_000, 10_000)),
    }

    def __init__(self, split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]) -> None:
        self.split = split
        self.classes, self.sizes = self.splits[split]

    def _prefixes(self) -> tuple[str, str]:
        return f"emnist-{self.split}-train", f"emnist-{self.split}-test"

    def _open(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision.datasets import EMNIST

        return EMNIST(root, self.split, train=train, download=download)

    def _raw(self, opened: Any) -> RawImages:
        # Its files hold the images with rows and columns exchanged, and count letters from one.
        images = np.ascontiguousarray(opened.data.numpy()[:, None].swapaxes(2, 3))
        return RawImages(images, opened.targets.numpy().astype(np.int64) - (self.split == "letters"))


class _Photographs(TorchvisionSet):
    """RGB images of the world, around which there is no black: beyond their edges is their mean colour."""

    channels = 3
    posed = False

    def _checksums(self) -> dict[str, str]:
        """md5 of each file."""
        return {}

    def _fault(self, root: Path) -> str | None:
        from torchvision.datasets.utils import check_integrity  # type: ignore[import-untyped]

        for name, md5 in self._checksums().items():
            path = root / self.folder / name
            if not path.is_file():
                return f"{path}: is missing"
            if not check_integrity(path, md5):
                return f"{path}: is truncated or wrong (its md5 is not {md5})"
        return None


class Cifar10(_Photographs):
    """Krizhevsky 2009: 50,000 and 10,000 photographs in 10 classes, 32x32."""

    sizes = (50_000, 10_000)
    classes = 10
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    background = mean
    folder = "cifar-10-batches-py"

    @property
    def _reader(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10

    def _open(self, root: Path, train: bool, download: bool) -> Any:
        return self._reader(root, train, download=download)

    def _checksums(self) -> dict[str, str]:
        reader = self._reader
        return dict([*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])])

    def _raw(self, opened: Any) -> RawImages:
        images = np.ascontiguousarray(opened.data.transpose(0, 3, 1, 2))
        return RawImages(images, np.array(opened.targets, dtype=np.int64))


class Cifar100(Cifar10):
    """Krizhevsky 2009: 50,000 and 10,000 photographs in 100 classes, 32x32."""

    classes = 100
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    background = mean
    folder = "cifar-100-python"

    @property
    def _reader(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100


class Svhn(_Photographs):
    """Netzer et al. 2011, cropped: 73,257 and 26,032 digits of house numbers, with what is beside them, 32x32.

    extra: True, also train with the 531,131 easier ones of `extra`.
    """

    classes = 10
    mean, std = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    background = mean
    folder = "."

    def __init__(self, extra: Extra = None) -> None:
        self.trained = ("train", "extra") if extra else ("train",)
        self.sizes = (73_257 + (531_131 if extra else 0), 26_032)

    def _open(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision.datasets import SVHN

        return [SVHN(root, split, download=download) for split in (self.trained if train else ("test",))]

    def _checksums(self) -> dict[str, str]:
        from torchvision.datasets import SVHN

        return {name: md5 for _, name, md5 in (SVHN.split_list[split] for split in (*self.trained, "test"))}

    def _raw(self, opened: Any) -> RawImages:
        labels = np.concatenate([part.labels for part in opened]).astype(np.int64)
        return RawImages(np.concatenate([part.data for part in opened]), labels)


class Gtsrb(_Photographs):
    """Stallkamp et al. 2012: 26,640 and 12,630 German traffic signs in 43 classes, 15 to 250 pixels wide.

    pixels: to resize each to.
    """

    sizes = (26_640, 12_630)
    classes = 43
    mean, std = (0.3403, 0.3121, 0.3214), (0.2724, 0.2608, 0.2669)
    background = mean
    folder = "gtsrb"

    def __init__(self, pixels: Annotated[int, Ge(4)]) -> None:
        self.pixels = pixels

    def _open(self, root: Path, train: bool, download: bool) -> Any:
        from torchvision.datasets import GTSRB

        return GTSRB(root, "train" if train else "test", download=download)

    def _fault(self, root: Path) -> str | None:
        names = ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv")
        paths = (root / self.folder / name for name in names)
        return next((f"{path}: is missing" for path in paths if not path.exists()), None)

    def _raw(self, opened: Any) -> RawImages:
        paths, labels = zip(*opened._samples, strict=True)
        return RawImages(Pictures(paths, self.pixels), np.array(labels, dtype=np.int64))
