from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stnlab.choices import build
from stnlab.compose import compose
from stnlab.data.dataset import Mnist, MnistAddition
from stnlab.data.distortion import Distortion
from stnlab.data.module import ImageData
from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError
from stnlab.seeds import generator
from stnlab.training.run import train_run

SMALL = ["recipe=smoke", "recipe.steps=2", "logger=none", "callbacks=quiet", "trainer=cpu", "data.train_size=200"]
SMALL += ["data.validation_size=50", "data.test_size=50", "evaluation.images=0", "backbone.channels=[4,4]"]


def rotated(root: Path, **changes: Any) -> ImageData:
    choice: dict[str, Any] = {
        "root": str(root),
        "dataset": Mnist(),
        "distortion": Distortion(size=28, rotation=[-90, 90], scale=[1, 1]),
        "train_size": 700,
        "validation_size": 300,
        "test_size": 200,
        "seed": 0,
        "training_seed": 0,
        "batch_size": 64,
        "eval_batch_size": 128,
    }
    data = ImageData(**(choice | changes))
    data.setup()
    return data


def poses(data: ImageData, split: Any, epoch: int = 0) -> dict[int, float]:
    """Rotation by sample index, as batches bring it."""
    loader = data.loader(split)
    loader.set_epoch(epoch)
    batches = [data.distort(raw) for raw in loader]
    index = torch.cat([batch.index for batch in batches]).tolist()
    rotation = torch.cat([batch.pose_parameters["rotation"][:, 0] for batch in batches]).tolist()
    return dict(zip(index, rotation, strict=True))


def test_batch_size_changes_no_pose(mnist_root: Path):
    for split in ("train", "val", "test"):
        few, many = rotated(mnist_root), rotated(mnist_root, batch_size=17, eval_batch_size=31)
        assert poses(few, split) == poses(many, split)


def test_a_pose_is_a_function_of_seed_split_epoch_name_and_index(mnist_root: Path):
    data = rotated(mnist_root, training_seed=7)
    for key, count in (((7, "train", 2), 60000), ((0, "val", 0), 60000), ((0, "test", 0), 10000)):
        angle = torch.deg2rad(-90 + 180 * torch.rand(count, generator=generator(*key, "rotation")))
        found = poses(data, key[1], key[2])
        assert found == {index: angle[index].item() for index in found}


def test_training_poses_are_new_each_epoch_and_seed_and_others_never(mnist_root: Path):
    data, other = rotated(mnist_root), rotated(mnist_root, training_seed=1)
    assert poses(data, "train", 0) != poses(data, "train", 1)
    assert poses(data, "train", 0) != poses(other, "train", 0)
    for split in ("val", "test"):
        assert poses(data, split, 0) == poses(data, split, 1) == poses(other, split, 0)


def test_each_process_gets_its_share_of_every_batch(mnist_root: Path):
    data = rotated(mnist_root)
    for split in ("train", "test"):
        whole = [sorted(raw.indices.tolist()) for raw in data.loader(split)]
        shares = []
        for rank in range(3):
            loader = data.loader(split)
            loader.rank, loader.world = rank, 3
            shares.append([(raw.indices.tolist(), raw.global_size) for raw in loader])
        for batch, *parts in zip(whole, *shares, strict=True):
            assert sorted(index for part, _ in parts for index in part) == batch
            assert {size for _, size in parts} == {len(batch)}


def test_order_is_new_each_epoch_and_complete(mnist_root: Path):
    loader = rotated(mnist_root).loader("train")
    first = torch.cat([raw.indices for raw in loader])
    assert torch.equal(first, torch.cat([raw.indices for raw in loader]))
    loader.set_epoch(1)
    second = torch.cat([raw.indices for raw in loader])
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)
    assert len(first) == 700
    assert len(loader) == 11


def test_splits_are_apart_and_a_smaller_training_set_leaves_validation_alone(mnist_root: Path):
    data, small = rotated(mnist_root, train_size=None, validation_size=5000), rotated(mnist_root, validation_size=5000)
    train, val = set(data.rows["train"].tolist()), set(data.rows["val"].tolist())
    assert not train & val
    assert len(train | val) == 60000
    assert torch.equal(small.rows["val"], data.rows["val"])
    assert set(small.rows["train"].tolist()) <= train


@pytest.mark.parametrize(
    "more", [{}, {"shear": [-20, 20], "position": "anywhere"}, {"perspective": 3.0}, {"elastic": 1.5}]
)
def test_maps_made_for_an_epoch_or_for_a_batch_give_the_same_images(mnist_root: Path, more: dict[str, Any]):
    distortion = Distortion(size=28, rotation=[-90, 90], scale=[0.7, 1.2], **more)
    few = rotated(mnist_root, distortion=distortion)
    every = rotated(mnist_root, distortion=distortion, train_size=None)
    rows = few.rows["train"][:50]
    for_batch, for_epoch = (data.distort(data.picked("train", rows)) for data in (few, every))
    assert few._table("train", 0).maps is None
    assert every._table("train", 0).maps is not None
    assert for_batch.image.equal(for_epoch.image)
    assert for_batch.poses[0].grid(5, 5).equal(for_epoch.poses[0].grid(5, 5))


def test_no_validation_split(mnist_root: Path):
    data = rotated(mnist_root, validation_size=0)
    assert data.val_dataloader() == []
    assert [loader.split for loader in data.test_dataloader()] == ["test"]


def test_test_images_may_be_distorted_otherwise_than_training_and_validation(mnist_root: Path):
    plain, wide = rotated(mnist_root), rotated(mnist_root, test_distortion={"rotation": [-180, 180]})
    for split in ("train", "val"):
        assert poses(plain, split) == poses(wide, split)
    doubled = {index: 2 * rotation for index, rotation in poses(plain, "test").items()}
    assert poses(wide, "test") == pytest.approx(doubled)


def test_two_digits_with_a_pose_each_and_their_sum(mnist_root: Path):
    still = Distortion(size=28, rotation=[0, 0], scale=[1, 1])
    choice: dict[str, Any] = {"dataset": MnistAddition(), "distortion": still}
    data, alone = rotated(mnist_root, **choice), rotated(mnist_root, distortion=still)
    turning = rotated(mnist_root, dataset=MnistAddition())
    digits = Mnist().load(mnist_root)[0]
    for split in ("train", "val"):
        allowed = {digits.images[row].tobytes(): digits.labels[row] for row in data.rows[split]}
        raw = next(iter(data.loader(split)))
        batch = data.distort(raw)
        assert batch.image.shape[1:] == data.image_shape == (2, 28, 28)
        torch.testing.assert_close(batch.image[:, :1], alone.distort(raw).image)
        pixels = (batch.image * data.std[:, None, None] + data.mean[:, None, None]) * 255
        for image, label in zip(pixels.round().byte().numpy(), batch.label, strict=True):
            assert label.tolist() == [sum(allowed[channel.tobytes()] for channel in image)], "both of this split"
        turned = turning.distort(raw)
        assert turned.poses is not None
        assert len(turned.poses) == 2
        alone_turned = poses(rotated(mnist_root), split)
        first, second = turned.pose_parameters["rotation"].T
        assert first.tolist() == [alone_turned[index] for index in raw.indices.tolist()]
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.4


def test_the_canonical_pose_is_the_stored_image_turned_alike_for_all_objects(mnist_root: Path):
    bent = Distortion(28, [-90, 90], [0.7, 1.2], shear=[-9, 9], shift=[-3, 3], position="anywhere", perspective=2)
    bent = bent.changed({"elastic": 1}, "")
    data = rotated(mnist_root, dataset=MnistAddition(), distortion=bent)
    raw = next(iter(data.loader("test")))
    still, turned = data.posed(raw), data.posed(raw, rotation=90)
    stored = (data.undistorted(raw) / 255 - data.mean[:, None, None]) / data.std[:, None, None]
    torch.testing.assert_close(still.image, stored, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.image, torch.rot90(stored, 1, (2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.label, data.distort(raw).label)
    assert turned.poses is not None
    torch.testing.assert_close(turned.poses[1](torch.tensor([[1.0, 0.0]]))[:, 0], torch.tensor([[0.0, 1.0]] * 128))
    assert turned.pose_parameters.keys() == data.distort(raw).pose_parameters.keys()
    assert set(turned.pose_parameters["rotation"].rad2deg().round().flatten().tolist()) == {90}
    assert not turned.pose_parameters["elastic"].any()


def test_clutter_and_noise_stay_where_the_pose_changes(mnist_root: Path):
    still = Distortion(28, [0, 0], [1, 1], clutter=(3, 6), clutter_size=6, clutter_scaled=True, noise=(0.1, 0.2))
    data = rotated(mnist_root, distortion=still)
    raw = data.picked("test", data.rows["test"][[5, 3, 8]])
    assert torch.equal(raw.indices, data.rows["test"][[5, 3, 8]])
    torch.testing.assert_close(data.posed(raw).image, data.distort(raw).image, atol=0, rtol=0)
    blank = raw.to(raw.images.device)
    blank.images = torch.zeros_like(raw.images)
    torch.testing.assert_close(data.posed(blank, rotation=45, scale=2).image, data.posed(blank).image, atol=0, rtol=0)


@pytest.mark.parametrize(("size", "validates"), [(0, False), (300, True), (None, True)])
def test_null_means_the_datasets_own_validation_split_not_none_at_all(size: int | None, validates: bool):
    plain = Distortion(size=28, rotation=[0, 0], scale=[1, 1])
    data = ImageData("", Mnist(), plain, None, size, None, seed=0, training_seed=0, batch_size=8, eval_batch_size=8)
    assert data.validates is validates


def test_the_root_may_start_at_home(mnist_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(mnist_root.parent))
    assert len(rotated(Path("~") / mnist_root.name).rows["train"]) == 700


def test_images_are_normalised_and_outside_is_background(mnist_root: Path):
    data = rotated(mnist_root, train_size=5000)
    plain = rotated(mnist_root, train_size=5000, distortion=Distortion(size=28, rotation=[0, 0], scale=[1, 1]))
    images = torch.cat([plain.distort(raw).image for raw in plain.loader("train")])
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02
    corner = torch.cat([data.distort(raw).image[:, :, 0, 0] for raw in data.loader("test")])
    torch.testing.assert_close(corner, data.background.expand_as(corner))


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"validation_size": 60000}, "take more than the 60000"), ({"test_size": 10001}, "there are 10000 test images")],
)
def test_more_samples_than_there_are_is_refused(mnist_root: Path, choice: dict[str, int], message: str):
    with pytest.raises(StnlabError, match=message):
        rotated(mnist_root, **choice)


@pytest.mark.parametrize("streams", [False, True])
def test_a_run_reads_its_files_once_and_keeps_nothing_else(
    streams: bool, mnist_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[ImageData] = []
    load = ImageData._load
    monkeypatch.setattr(ImageData, "_load", lambda self: (loaded.append(self), load(self))[1])
    memory = ["data.memory_gib=0", "data.workers=0"] if streams else []
    run = train_run(compose("train", [*SMALL, *memory, f"data.root={mnist_root}", f"runs_dir={tmp_path}"]))
    assert run.state == "done"
    assert len(loaded) == 1
    assert loaded[0]._read is None
    assert loaded[0].streams == streams
    for loader in (loaded[0].first("val", 3), loaded[0].picked("test", loaded[0].rows["test"][:2])):
        assert len(loader.labels)
    assert not loaded[0]._streaming


@pytest.mark.parametrize(("label", "message"), [(10, "from 0 to 10; of the 10 classes of Odd"), (-1, "from -1 to 9")])
def test_a_label_that_no_class_has_is_one_line(mnist_root: Path, label: int, message: str):
    class Odd(Mnist):
        def load(self, root: Path) -> tuple[RawImages, RawImages]:
            train, test = super().load(root)
            return train, replace(test, labels=np.concatenate([[label], test.labels[1:]]))

    with pytest.raises(StnlabError, match=message):
        rotated(mnist_root, dataset=Odd())


@pytest.mark.parametrize("size", ["-1", "'own'", "'own or 0'", "'500'", "true"])
def test_a_validation_size_that_means_nothing_is_one_line(size: str):
    with pytest.raises(StnlabError, match=r": should be greater than or equal to 0, null, or like 'own or 500'$"):
        build(compose("train", [f"data.validation_size={size}"])["data"], "data")
