"""Each loader on a tiny set in the true file format, intact, missing, truncated and wrong. No test uses the network."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from stnlab.choices import build
from stnlab.data.birds import Cub
from stnlab.data.dataset import Dataset
from stnlab.data.distortion import Distortion
from stnlab.data.folder import Folder
from stnlab.data.house_numbers import SvhnNumbers
from stnlab.data.module import ImageData
from stnlab.data.raw import RawImages, in_memory
from stnlab.data.torchvision_sets import Cifar10, Cifar100, Emnist, FashionMnist, Gtsrb, Kmnist, Svhn
from stnlab.errors import StnlabError

torchvision = pytest.importorskip("torchvision.datasets")
RANDOM = np.random.default_rng(0)
SIZES = (5, 3)


def pictures(count: int, size: int, channels: int = 3) -> np.ndarray:
    """uint8 [count, channels, size, size]."""
    return RANDOM.integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_png(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.transpose(1, 2, 0)).save(path)


Written = tuple[Dataset, list[np.ndarray], list[list[int]], Path]
"""A dataset whose files were written, the images and labels that it must load, and one of the files."""


def idx_set(dataset: Any, root: Path, prefixes: tuple[str, str], transposed: bool = False, first: int = 0) -> Written:
    images = [pictures(count, 28, 1) for count in SIZES]
    labels = [RANDOM.integers(0, 5, count).tolist() for count in SIZES]
    for prefix, array, numbers in zip(prefixes, images, labels, strict=True):
        stored = array[:, 0].swapaxes(1, 2) if transposed else array[:, 0]
        write_idx(root / dataset.folder / f"{prefix}-images-idx3-ubyte", stored)
        write_idx(root / dataset.folder / f"{prefix}-labels-idx1-ubyte", np.array(numbers) + first)
    return dataset, images, labels, root / dataset.folder / f"{prefixes[1]}-images-idx3-ubyte"


def fashion_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return idx_set(FashionMnist(), root, ("train", "t10k"))


def kmnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return idx_set(Kmnist(), root, ("train", "t10k"))


def emnist_letters(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    prefixes = ("emnist-letters-train", "emnist-letters-test")
    return idx_set(Emnist("letters"), root, prefixes, transposed=True, first=1)


def emnist_balanced(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return idx_set(Emnist("balanced"), root, ("emnist-balanced-train", "emnist-balanced-test"), transposed=True)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def cifar(dataset: Any, reader: Any, key: str, monkeypatch: pytest.MonkeyPatch, root: Path) -> Written:
    folder = root / reader.base_folder
    folder.mkdir()
    train, test = reader.train_list, reader.test_list
    images = [pictures(count, 32) for count in (2 * len(train), 3)]
    labels = [RANDOM.integers(0, dataset.classes, len(array)).tolist() for array in images]
    start = {"train": 0, "test": 0}
    for name, _ in [*train, *test]:
        part = "test" if name.startswith("test") else "train"
        rows = slice(start[part], start[part] + (3 if part == "test" else 2))
        start[part] = rows.stop
        content = {"data": images[part == "test"][rows].reshape(-1, 3072), key: labels[part == "test"][rows]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = [f"class {number}" for number in range(dataset.classes)]
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: names}, protocol=2))
    # The true checksums are the true files'; these files' own keep the check itself in place.
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(reader, attribute, [[name, md5(folder / name)] for name, _ in getattr(reader, attribute)])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": md5(folder / reader.meta["filename"])})
    return dataset, images, labels, folder / test[0][0]


def cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return cifar(Cifar10(), torchvision.CIFAR10, "labels", monkeypatch, root)


def cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return cifar(Cifar100(), torchvision.CIFAR100, "fine_labels", monkeypatch, root)


def svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    images, labels = [pictures(count, 32) for count in SIZES], [[0, 1, 9, 2, 0], [3, 0, 7]]
    for split, array, digits in zip(("train", "test"), images, labels, strict=True):
        write_svhn(root, split, array, digits, monkeypatch)
    return Svhn(), images, labels, root / "test_32x32.mat"


def svhn_extra(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    _, (train, test), (digits, tested), _ = svhn(root, monkeypatch)
    more = pictures(2, 32)
    write_svhn(root, "extra", more, [0, 8], monkeypatch)
    return Svhn(extra=True), [np.concatenate([train, more]), test], [[*digits, 0, 8], tested], root / "extra_32x32.mat"


def write_svhn(root: Path, split: str, array: np.ndarray, digits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    ones_to_ten = np.array([[digit or 10] for digit in digits], dtype=np.uint8)
    path = root / f"{split}_32x32.mat"
    savemat(path, {"X": array.transpose(2, 3, 1, 0), "y": ones_to_ten})
    monkeypatch.setitem(torchvision.SVHN.split_list, split, ["", path.name, md5(path)])


def gtsrb(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    folder = root / "gtsrb" / "GTSRB"
    images, labels = [pictures(count, 16) for count in SIZES], [[0, 0, 1, 2, 2], [2, 0, 1]]
    for number, (picture, label) in enumerate(zip(images[0], labels[0], strict=True)):
        write_png(folder / "Training" / f"{label:05d}" / f"00000_{number:05d}.ppm", picture)
    for number, picture in enumerate(images[1]):
        write_png(folder / "Final_Test" / "Images" / f"{number:05d}.ppm", picture)
    lines = [f"{number:05d}.ppm;16;16;1;1;15;15;{label}" for number, label in enumerate(labels[1])]
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join([header, *lines]) + "\n")
    return Gtsrb(pixels=16), images, labels, folder / "Final_Test" / "Images" / "00001.ppm"


def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    images, labels = [pictures(count, 16) for count in SIZES], [[0, 0, 1, 2, 2], [0, 1, 2]]
    for split, array, numbers in zip(("train", "test"), images, labels, strict=True):
        for number, (picture, label) in enumerate(zip(array, numbers, strict=True)):
            write_png(root / split / "abc"[label] / f"{number}.png", picture)
    return Folder("tiny", 3, 16, 0.2, 0), images, labels, root / "test" / "b" / "1.png"


def house_numbers(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    (train, numbers), (test, tested) = (
        write_house_numbers(root / "svhn" / "train", [[1, 9], [10], [2, 10, 3], [1] * 6]),
        write_house_numbers(root / "svhn" / "test", [[4, 4, 4, 4, 5]]),
    )
    file = root / "svhn" / "test" / "digitStruct.mat"
    return SvhnNumbers(pixels=12, expand=1.0), [train, test], [numbers, tested], file


def house_numbers_extra(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    _, (train, test), (numbers, tested), _ = house_numbers(root, monkeypatch)
    more, theirs = write_house_numbers(root / "svhn" / "extra", [[7], [8, 10]])
    dataset = SvhnNumbers(pixels=12, expand=1.0, extra=True)
    file = root / "svhn" / "extra" / "digitStruct.mat"
    return dataset, [np.concatenate([train, more]), test], [numbers + theirs, tested], file


def write_house_numbers(folder: Path, numbers: list[list[int]]) -> tuple[np.ndarray, list[list[int]]]:
    """What is to be loaded of them: the middle of each picture, and labels; nothing of a number of six digits."""
    h5py = pytest.importorskip("h5py")
    array = pictures(len(numbers), 20)
    for number, picture in enumerate(array):
        write_png(folder / f"{number + 1}.png", picture)
    with h5py.File(folder / "digitStruct.mat", "w") as file:
        write_digit_struct(file, numbers, h5py.ref_dtype)
    kept = [row for row, digits in enumerate(numbers) if len(digits) <= 5]
    labels = [[digit % 10 for digit in numbers[row]] + [10] * (5 - len(numbers[row])) for row in kept]
    return array[kept, :, 3:15, 2:14], labels


def write_digit_struct(file: Any, numbers: list[list[int]], reference: Any) -> None:
    """MATLAB's layout: cells are references; a field of one number is the number, of several again references."""
    names, boxes = [], []
    for row, digits in enumerate(numbers):
        name = np.array([[ord(letter)] for letter in f"{row + 1}.png"], dtype=np.uint16)
        names.append([file.create_dataset(f"#refs#/name{row}", data=name).ref])
        box = file.create_group(f"#refs#/box{row}")
        lefts = np.linspace(2, 14 - 12 / len(digits), len(digits))
        fields = {"label": digits, "left": lefts, "top": [3] * len(digits), "height": [12] * len(digits)}
        for key, values in (fields | {"width": [12 / len(digits)] * len(digits)}).items():
            cells = [np.array([[float(value)]]) for value in values]
            if len(cells) == 1:
                box.create_dataset(key, data=cells[0])
                continue
            refs = [[file.create_dataset(f"#refs#/{key}{row}_{k}", data=cell).ref] for k, cell in enumerate(cells)]
            box.create_dataset(key, data=np.array(refs, dtype=object), dtype=reference)
        boxes.append([box.ref])
    for key, refs in (("name", names), ("bbox", boxes)):
        file.create_dataset(f"digitStruct/{key}", data=np.array(refs, dtype=object), dtype=reference)


def birds(root: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    folder = root / "CUB_200_2011"
    images, labels, rows = [pictures(count, 16) for count in SIZES], [[0, 0, 1, 2, 2], [1, 199, 0]], []
    for is_train, array, numbers in zip((1, 0), images, labels, strict=True):
        for picture, label in zip(array, numbers, strict=True):
            rows.append((len(rows) + 1, f"{label + 1:03d}.Bird/{len(rows)}.png", label + 1, is_train))
            write_png(folder / "images" / rows[-1][1], picture)
    for column, name in enumerate(("images", "image_class_labels", "train_test_split"), start=1):
        (folder / f"{name}.txt").write_text("".join(f"{row[0]} {row[column]}\n" for row in rows))
    return Cub(pixels=16), images, labels, folder / "image_class_labels.txt"


WRITERS = [
    fashion_mnist,
    kmnist,
    emnist_letters,
    emnist_balanced,
    cifar10,
    cifar100,
    svhn,
    svhn_extra,
    gtsrb,
    folder,
    house_numbers,
    house_numbers_extra,
    birds,
]
Writer = Callable[[Path, pytest.MonkeyPatch], Written]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision asks for nothing; and sets may be tiny."""

    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    for reader in (torchvision.FashionMNIST, torchvision.EMNIST, torchvision.CIFAR10, torchvision.SVHN):
        monkeypatch.setattr(reader, "download", refuse)
    monkeypatch.setattr(torchvision.KMNIST, "download", refuse)
    monkeypatch.setattr(torchvision.GTSRB, "download", refuse)


def load(dataset: Any, root: Path) -> list[RawImages]:
    dataset.sizes = None
    return [replace(raw, images=in_memory(raw.images)) for raw in dataset.load(root)]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.usefixtures("offline")
def test_loads_what_was_written(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset, images, labels, _ = writer(tmp_path, monkeypatch)
    for raw, expected, numbers in zip(load(dataset, tmp_path), images, labels, strict=True):
        assert raw.images.dtype == np.uint8
        assert np.array_equal(raw.images, expected)
        assert raw.labels.dtype == np.int64
        assert raw.labels.tolist() == numbers
        assert len(dataset.mean) == len(dataset.std) == dataset.channels == raw.images.shape[1]
        assert np.max(numbers) < dataset.classes
        assert raw.labels.ndim == 1 or raw.labels.shape[1] == dataset.heads


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"<html>sign in first</html>")


@pytest.mark.parametrize("damage", [Path.unlink, truncate, overwrite])
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.usefixtures("offline")
def test_a_damaged_file_is_one_line_with_its_path(
    writer: Writer, damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset, _, _, path = writer(tmp_path, monkeypatch)
    damage(path)
    if damage is Path.unlink and writer is folder:
        path = path.parents[1]  # a class without images, which is named
    with pytest.raises(StnlabError) as caught:
        load(dataset, tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torchvision.FashionMNIST, "download", lambda self: fashion_mnist(tmp_path, monkeypatch))
    assert len(load(FashionMnist(), tmp_path)[0].labels) == SIZES[0]


@pytest.mark.usefixtures("offline")
def test_another_set_of_the_same_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset, *_ = fashion_mnist(tmp_path, monkeypatch)
    with pytest.raises(StnlabError, match=r"FashionMNIST/raw: holds \(5, 3\) images .* not \(60000, 10000\)$"):
        dataset.load(tmp_path)


def test_extra_is_off_unless_it_is_wanted_and_has_one_way_to_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    svhn_extra(tmp_path, monkeypatch)
    assert len(load(Svhn(), tmp_path)[0].labels) == SIZES[0]
    assert (Svhn().sizes, Svhn(extra=True).sizes) == ((73_257, 26_032), (604_388, 26_032))
    house_numbers_extra(tmp_path, monkeypatch)
    assert len(load(SvhnNumbers(12, 1.0), tmp_path)[0].labels) == 3
    for target in ("torchvision_sets.Svhn", "house_numbers.SvhnNumbers"):
        with pytest.raises(StnlabError, match=r"^data\.dataset\.extra=false: should be true, or null for off$"):
            build({"_target_": f"stnlab.data.{target}", "extra": False}, "data.dataset")


def data_of(dataset: Dataset, root: Path, validation: int | str | None) -> ImageData:
    still = Distortion(size=16, rotation=[0, 0], scale=[1, 1])
    data = ImageData(str(root), dataset, still, None, validation, None, 0, 0, 4, 4)
    data.setup()
    return data


def test_a_folder_may_bring_its_own_validation_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset, *_ = folder(tmp_path, monkeypatch)
    with pytest.raises(StnlabError, match="validation_size=null: this data has no validation images"):
        data_of(dataset, tmp_path, None)
    without = data_of(dataset, tmp_path, "own or 2")
    assert torch.equal(without.rows["val"], data_of(dataset, tmp_path, 2).rows["val"])
    own = pictures(3, 16)
    for picture, label in zip(own, "abc", strict=True):
        write_png(tmp_path / "val" / label / "v.png", picture)
    drawn = data_of(dataset, tmp_path, 2)
    for data in (data_of(dataset, tmp_path, None), data_of(dataset, tmp_path, "own or 2")):
        held = [batch.images.numpy() for batch in data.loader("val")]
        assert np.array_equal(np.concatenate(held), own)
        assert [len(data.rows[split]) for split in ("train", "val", "test")] == [5, 3, 3]
        assert data.validates
    assert [len(drawn.rows[split]) for split in ("train", "val", "test")] == [3, 2, 3]


def test_a_folder_without_splits_is_split_by_its_seed(tmp_path: Path):
    for number, picture in enumerate(pictures(20, 16)):
        write_png(tmp_path / "ab"[number % 2] / f"{number}.png", picture)
    first, again, other = (load(Folder("tiny", 2, 16, 0.25, seed), tmp_path) for seed in (0, 0, 1))
    assert [len(raw.labels) for raw in first] == [15, 5]
    assert np.array_equal(first[1].images, again[1].images)
    assert not np.array_equal(first[1].images, other[1].images)
    assert len({image.tobytes() for raw in first for image in raw.images}) == 20


def test_a_folder_that_does_not_fit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder(tmp_path, monkeypatch)
    with pytest.raises(StnlabError, match=r"train: holds 3 classes, not \d+; give data\.dataset\.classes=3"):
        Folder("tiny", 4, 16, 0.2, 0).load(tmp_path)
    with pytest.raises(StnlabError, match=r"none: no such folder; name one with data\.root"):
        Folder("tiny", 3, 16, 0.2, 0).load(tmp_path / "none")
    (tmp_path / "test" / "c").rename(tmp_path / "test" / "d")
    with pytest.raises(StnlabError, match=r"test: its classes are not those of \S+train: only one of them has c, d; "):
        Folder("tiny", 3, 16, 0.2, 0).load(tmp_path)
    for name in ("", "???"):
        with pytest.raises(StnlabError, match=r"data\.dataset\.name: is missing; give data\.dataset\.name=\.\.\."):
            Folder(name, 3, 16, 0.2, 0)


def test_a_share_to_test_with_that_leaves_nothing_to_train_with_is_one_line(tmp_path: Path):
    for label in "ab":
        write_png(tmp_path / label / "1.png", pictures(1, 16)[0])
    with pytest.raises(StnlabError, match=r"test_share=0\.9: leaves none of the 2 images to train with; give less$"):
        Folder("tiny", 2, 16, 0.9, 0).load(tmp_path)


def test_beyond_a_photograph_is_its_mean_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset, *_ = folder(tmp_path, monkeypatch)
    distortion = Distortion(size=32, rotation=[0, 0], scale=[1, 1])
    data = ImageData(str(tmp_path), dataset, distortion, None, 0, None, 0, 0, 4, 4)
    data.setup()
    assert data.background.tolist() == [0, 0, 0]
    batch = data.distort(next(iter(data.loader("test"))))
    assert (batch.poses, batch.pose_parameters) == (None, {}), "nobody knows how a photograph's object stands"
    image = batch.image
    torch.testing.assert_close(image[:, :, :7], torch.zeros(3, 3, 7, 32), rtol=0, atol=1e-6)
    assert image[:, :, 8:24, 8:24].std() > 0.5
    data.test_distortion = distortion.changed({"rotation": [30, 30]}, "")
    turned = data.distort(next(iter(data.loader("test"))))
    assert turned.poses is not None
