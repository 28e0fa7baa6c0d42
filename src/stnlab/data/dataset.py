"""The images to distort. A new dataset is one subclass of `Dataset` and one file in `conf/data/`."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from torch import Tensor

from stnlab.data.mnist import load_mnist
from stnlab.data.raw import RawImages


def _on_or_none(extra: Any) -> Any:
    if extra is None or extra is True:
        return extra
    raise PydanticCustomError("extra", "should be true, or null for off")


Extra = Annotated[bool | None, BeforeValidator(_on_or_none)]
"""Whether to train with a part that a dataset can do without. Off is None alone, so that it is the same run."""


class Dataset(ABC):
    """What is known before a file is read, as attributes of the class or of an object of it.

    sizes: images to train and to test with, None if only the files tell. channels: of a stored image. classes: of a
    label. heads: labels an image has (digits of a number, say). mean, std: per channel, of images in [0, 1], for
    normalisation. background: per channel, in [0, 1], what an image shows beyond its edges; None: black, as around a
    digit, and then the object is what is not black, else the whole image.

    posed: whether the stored images show their objects in one pose, as digits are upright and centred. If not, the pose
    of an image that is not distorted is unknown; that of a distorted one leads back to the image as it is stored.

    objects: stored images that make up one sample, each with a pose of its own and with its own channels. The first
    is the sample's, the others are drawn among the same split's images.
    """

    sizes: tuple[int, int] | None = None
    channels: int
    classes: int
    heads: int = 1
    objects: int = 1
    posed: bool = True
    mean: tuple[float, ...]
    std: tuple[float, ...]
    background: tuple[float, ...] | None = None

    @abstractmethod
    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        """Train and test images, fetched to `root` first where that is possible.

        Images that would not fit in memory are no array but decode one when it is asked for (`raw.Images`).

        Raises StnlabError, in one line with the path, where a file is missing, truncated or wrong.
        """

    def combine(self, labels: Tensor) -> Tensor:
        """A sample's labels [N, heads] from those of its objects [N, objects, heads]."""
        return labels[:, 0]


class Mnist(Dataset):
    """LeCun, Cortes and Burges: 60,000 and 10,000 handwritten digits, 28x28, grey."""

    sizes = (60_000, 10_000)
    channels, classes = 1, 10
    mean, std = (0.1307,), (0.3081,)

    def load(self, root: Path) -> tuple[RawImages, RawImages]:
        return load_mnist(root)


class MnistAddition(Mnist):
    """Two digits, a channel each; the label is their sum (Jaderberg et al. 2015, table 4)."""

    classes, objects = 19, 2

    def combine(self, labels: Tensor) -> Tensor:
        return labels.sum(1)
