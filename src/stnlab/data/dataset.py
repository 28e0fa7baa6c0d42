"""The images to distort. A new dataset is one subclass of `Dataset` and one file in `conf/data/`."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from stnlab.data.mnist import load_mnist
from stnlab.data.raw import RawImages


class Dataset(ABC):
    """What is known before a file is read.

    sizes: images to train and to test with, None if only the files tell. channels, classes: of an image. heads:
    labels an image has (digits of a number, say). mean, std: per channel, of images in [0, 1], for normalisation.
    """

    sizes: ClassVar[tuple[int, int] | None] = None
    channels: ClassVar[int]
    classes: ClassVar[int]
    heads: ClassVar[int] = 1
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    @abstractmethod
    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        """Train and test images, fetched to `root` first where that is possible.

        Raises StnlabError, in one line with the path, where a file is missing, truncated or wrong.
        """


class Mnist(Dataset):
    """LeCun, Cortes and Burges: 60,000 and 10,000 handwritten digits, 28x28, grey."""

    sizes = (60_000, 10_000)
    channels, classes = 1, 10
    mean, std = (0.1307,), (0.3081,)

    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        return load_mnist(root)
