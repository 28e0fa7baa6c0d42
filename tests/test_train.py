"""The command as a user types it: most in this process, a few as real ones."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stnlab.errors import StnlabError
from stnlab.runs.directory import find_runs
from stnlab.train import main

QUICK = ["recipe=smoke", "recipe.steps=2", "callbacks=quiet", "logger=none", "trainer=cpu"]
QUICK += ["data.train_size=300", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]
QUICK += ["evaluation.images=20"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))


WRONG = [
    (
        "placement=inptu",
        "placement=inptu: no such choice; did you mean input? (choices: deep, input, none, parallel, separate, "
        "shared, stacked)",
    ),
    ("logger=[wandb,foo]", "logger=foo: no such choice (choices: csv, mlflow, none, tensorboard, wandb)"),
    (
        "placement=none placement.detph=1",
        "placement.detph: no such key of placement=none, which has no options there; depth belongs to "
        "placement=deep, separate, shared",
    ),
    (
        "placement.dpth=2",
        "placement.dpth: no such key of placement=input (choices: iterations, size); depth belongs to "
        "placement=deep, separate, shared",
    ),
    (
        "placement=stacked placement.depth=2",
        "placement.depth: no such key of placement=stacked; did you mean depths? (choices: depths, iterations, "
        "localizers); depth belongs to placement=deep, separate, shared",
    ),
    (
        "recipe=paper recipe.schedule.warmup=0.1",
        "recipe.schedule.warmup: no such key of recipe=paper (choices: factor, parts); warmup belongs to recipe=fast",
    ),
    ("-m placement=deep,input placement.depth=1", "placement.depth: no such key of placement=input (choices: iter"),
    ("-m placement=glob(*) placement.itertions=1", "placement.itertions: no such key; did you mean iterations?"),
    ("seed.x=1", "seed.x: no such key; there are no options here"),
    (
        "placement=deep placement.detph=1",
        "placement.detph: no such key; did you mean depth? (choices: depth, iterations)",
    ),
    ("sede=3", "sede: no such key; did you mean seed?"),
    ("recipe.optimizer.lrr=1", "recipe.optimizer.lrr: no such key; did you mean lr?"),
    ("+sede=3", "sede: no such key; did you mean seed?"),
    ("~seed", "seed: is missing"),
    ("seed=abc", "seed=abc: should be a valid integer"),
    ("seed=-1", "seed=-1: should be greater than or equal to 0"),
    ("seed=1.5", "seed=1.5: should be a valid integer"),
    ("seed=0,1", "seed=0,1: several values need -m, a multirun; a list is written seed=[0,1]"),
    ("study=../elsewhere", "study=../elsewhere: give a name of letters"),
    ("fresh=maybe", "fresh=maybe: should be a valid boolean"),
    ("recipe.schedule={speed:1}", "recipe.schedule: has no such keys; to replace it as a whole, ~recipe.schedule"),
    ("evaluation.images=-1", "evaluation.images=-1: should be greater than or equal to 0"),
    ("evaluation.images=null", "evaluation.images=null: should be a valid integer"),
    ("evaluation.rotations=1", "evaluation.rotations=1: should be greater than or equal to 2"),
    ("evaluation.scales=8", "evaluation.scales=8: give an odd number"),
    ("evaluation.scale=9", "evaluation.scale: no such key; did you mean scales?"),
    ("+evaluation.scale=9", "evaluation.scale: no such option; did you mean scales?"),
    ("~evaluation.scales", "evaluation.scales: is missing"),
    ("evaluation=null", "evaluation: is missing"),
    ("evaluation=5", "evaluation=5: should be a valid dictionary"),
    ("foo", "foo: cannot be read; write key=value"),
    ("transform=[affine", "transform=[affine: cannot be read"),
    ("--foo", "--foo: no such flag"),
    ("--config-dir=nowhere", "no such directory"),
    ("--cfg foo", "--cfg foo: give job, hydra or all"),
    ("--resolve", "add --cfg job"),
    (
        "placement=deep placement.depth=7",
        "placement.depth=7: there is no such stage; this backbone's depths and shapes are "
        "0: 1x28x28, 1: 32x10x10, 2: 64x2x2",
    ),
    ("placement=deep placement.depth=0", "placement.depth=0: should be greater than or equal to 1"),
    ("placement=deep placement.depth=1.5", "placement.depth=1.5: should be a valid integer"),
    ("backbone=fcn placement=deep", "a transformer needs an image of 2x2 or more there"),
    ("backbone.channels=[8,8,8]", "give one kernel size for each stage"),
    ("backbone.channels=[8,-8]", "should be greater than 0"),
    ("backbone.channels=[]", "backbone.channels=[]: should have at least 1 entry"),
    ("backbone.kernels=[9,11]", "stage 2 leaves nothing of a 1x28x28 image"),
    ("recipe.epochs=0", "recipe.epochs=0: should be greater than 0"),
    ("recipe.steps=10", "recipe.epochs=6 and recipe.steps=10: give one of them, the other null"),
    ("recipe.optimizer.lr=-1", "recipe.optimizer: Invalid learning rate: -1"),
    ("recipe.schedule.warmup=1", "recipe.schedule.warmup=1: should be less than 1"),
    ("recipe.optimizer.lr=fast", "recipe.optimizer.lr=fast: should be a number"),
    ("recipe.optimizer._target_=torch.optim.Adamw", "recipe.optimizer._target_=torch.optim.Adamw: cannot be imported"),
    ("transform._target_=pathlib.Path", "transform.lr_multiplier: no such option"),
    ("transform._target_=builtins.dict", "transform._target_=builtins.dict: its options cannot be known"),
    ("placement=null", "a group cannot be null; choose a file"),
    ("data.distortion.rotation=[90,-90]", "give [low, high]"),
    ("data.distortion.position=left", "should be 'centre' or 'anywhere'"),
    ("data.validation_size=-1", "data.validation_size=-1: should be greater than or equal to 0"),
    (
        "data.validation_size=60000",
        "data.validation_size=60000 and data.train_size=null take more than the 60000 training images there are",
    ),
    ("placement.size=5", "placement.size=5: should be a valid list"),
    ("placement.size=[3]", "placement.size=[3]: should have more entries"),
    ("placement.size=[1,2,3]", "placement.size=[1, 2, 3]: should have at most 2 entries"),
    ("placement.size=[0,3]", "placement.size=[0, 3]: should be greater than or equal to 1"),
    ("sampler=antialiased sampler.mode=nearest", "sampler.antialias=true averages pixels, sampler.mode=nearest copies"),
    ("transform.lr_multiplier=-1", "transform.lr_multiplier=-1: should be greater than or equal to 0"),
    ("trainer.devices=0", "trainer.devices=0: should be greater than or equal to 1"),
    ("trainer.threads=0", "trainer.threads=0: should be greater than or equal to 1"),
    ("~trainer.devices", "trainer.devices: is missing"),
    ("+trainer.fast_dev_run=true", "trainer.fast_dev_run: no such option"),
    ("trainer=cpu trainer.precision=16-mixed", "needs a GPU; on a CPU use bf16-mixed"),
    ("trainer.precision=half", "trainer.precision=half: should be"),
    ("trainer.compile=true", "trainer.compile=true: should be 'default', 'reduce-overhead'"),
    ("+trainer.colour=blue", "trainer.colour: no such option"),
    ("logger=wandb logger.wandb.mode=loud", "logger.wandb.mode=loud: should be 'auto', 'online', 'offline' or"),
]


@pytest.mark.parametrize(("command", "message"), WRONG, ids=[command for command, _ in WRONG])
def test_a_wrong_choice_is_one_line_and_leaves_nothing(command: str, message: str, tmp_path: Path):
    with pytest.raises(StnlabError) as caught:
        main([*command.split(), "callbacks=quiet"] + ([] if "logger" in command else ["logger=none"]))
    assert message in str(caught.value)
    assert "instance of Tensor" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert list(tmp_path.glob("runs/*/*/run.json")) == []


OWN = [
    (
        "transform=shift transform.lr_mult=2",
        "transform.lr_mult: no such key; did you mean lr_multiplier? (choices: lr_multiplier)",
    ),
    (
        "transform=shift transform.max_shift=2",
        "transform.max_shift: no such key of transform=shift (choices: lr_multiplier); max_shift belongs to "
        "transform=affine",
    ),
    ("backbone=plain backbone.wdths=[3]", "backbone.wdths: no such key; did you mean widths? (choices: widths)"),
    (
        "backbone=plain backbone.wdths=[3] sampler.mod=nearest",
        "backbone.wdths: no such key; did you mean widths? (choices: widths)",
    ),
    (
        "backbone.widths=[3]",
        "no such key of backbone=cnn (choices: channels, kernels); widths belongs to backbone=plain",
    ),
]


@pytest.mark.parametrize(("command", "message"), OWN, ids=[command for command, _ in OWN])
def test_advice_is_of_the_users_own_choice(command: str, message: str, tmp_path: Path):
    for group, text in (
        ("transform/shift", "_target_: mine.Shift\nlr_multiplier: 0.3\n"),
        ("backbone/plain", "_target_: mine.plain\nwidths: [32, 64, 128]\n"),
        ("placement/broken", "defaults: [nothere]\n"),
    ):
        (tmp_path / "my conf" / group).parent.mkdir(parents=True)
        (tmp_path / "my conf" / f"{group}.yaml").write_text(text)
    with pytest.raises(StnlabError) as caught:
        main(["--config-dir=my conf", *command.split(), "logger=none", "callbacks=quiet"])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("module", "argument"),
    [("train", "placement=inptu"), ("describe", "placement=inptu"), ("report", "nowhere"), ("evaluate", "x=1")],
)
def test_a_real_process_says_it_in_one_line_with_status_1(module: str, argument: str):
    done = subprocess.run(
        [sys.executable, "-m", f"stnlab.{module}", argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stnlab.training.devices.count_gpus", lambda: 0)
    with pytest.raises(StnlabError, match="torch finds no GPU here; use trainer=cpu"):
        main([*QUICK, "trainer=gpu"])


def test_multirun_trains_each_cell_once_and_skips_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sweep = ["-m", *QUICK, "study=mine", "placement=none,deep", "transform=affine,rotation_scale", "seed=0,1"]
    main(sweep)
    assert capsys.readouterr().out.count(": starts") == 6
    runs = find_runs(tmp_path / "runs" / "mine")
    assert len(runs) == 6
    assert {run.state for run in runs} == {"done"}
    results = {"config.yaml", "run.json", "metrics.csv", "metrics.json", "predictions.npz", "evaluation.npz"}
    assert {path.name for path in runs[0].path.iterdir()} == results | {"checkpoints", ".lock"}

    stamps = [run.last_checkpoint.stat().st_mtime_ns for run in runs]
    main([*sweep[:-1], "seed=0,1,2"])
    out = capsys.readouterr().out
    assert out.count("done already") == 8
    assert out.count(": starts") == 3
    assert "job 1 of 3\n" in out
    assert "job 3 of 3, less than a minute left" in out
    assert out.rstrip().endswith("12 jobs: 3 done, 9 skipped, 0 failed")
    assert [run.last_checkpoint.stat().st_mtime_ns for run in runs] == stamps


def test_a_failing_job_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(StnlabError, match="one job failed as told above"):
        main(["-m", *QUICK, "study=mine", "placement=deep", "placement.depth=1,9,2"])
    said = capsys.readouterr()
    told = "placement.depth=9: there is no such stage"
    assert told in said.err
    assert "3 jobs: 2 done, 0 skipped, 1 failed\nfailed: placement.depth=9: " in said.out
    assert told in said.out.rpartition("jobs:")[2]
    assert len(find_runs(tmp_path / "runs" / "mine")) == 2


def test_an_ablation_is_a_multirun_without_the_flag(tmp_path: Path):
    main(["ablation=demo", *QUICK, "transform=affine"])
    assert len(find_runs(tmp_path / "runs" / "demo")) == 3


def test_help_is_the_manual(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "mine" / "backbone").mkdir(parents=True)
    (tmp_path / "mine" / "backbone" / "own.yaml").write_text("# My own backbone\n_target_: my.backbone\n")
    assert main(["--help", "--config-dir", str(tmp_path / "mine")]) == 0
    text = capsys.readouterr().out
    for words in (
        "* mnist_rotated",
        "rotation_scale",
        "+-90 degrees",
        "My own backbone",
        "Examples:",
        "seed=0",
        "evaluation.images=2000  test images in",
    ):
        assert words in text


def test_a_users_own_backbone_and_transform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_parts.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from stnlab.geometry.maps import AffineMap\n"
        "from stnlab.geometry.transforms import Transform\n"
        "from stnlab.models.backbones import Backbone\n"
        "def tiny(input_shape: tuple[int, ...], outputs: int, width: int) -> Backbone:\n"
        "    return Backbone([nn.Conv2d(input_shape[0], width, 3, stride=3)], input_shape, outputs)\n"
        "class Shift(Transform):\n"
        "    parameters = 2\n"
        "    def __call__(self, theta, aspect=1.0):\n"
        "        return AffineMap(torch.cat([torch.eye(2).expand(len(theta), 2, 2), theta.float()[:, :, None]], 2))\n"
    )
    for group, text in (
        ("backbone", "_target_: own_parts.tiny\nwidth: 4\n"),
        ("transform", "_target_: own_parts.Shift\n"),
    ):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "own.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    quick = [one for one in QUICK if not one.startswith("backbone")]
    main(["--config-dir=conf", "backbone=own", "transform=own", "study=own", *quick])
    (run,) = find_runs(tmp_path / "runs" / "own")
    assert run.name.startswith("mnist_rotated-own-input-own-smoke-s0-")
    with pytest.raises(StnlabError, match=r"backbone.width=wide: should be a valid integer"):
        main(["--config-dir=conf", "backbone=own", "backbone.width=wide", *quick])


def test_a_users_own_dataset_in_memory_or_decoded_as_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "shapes.py").write_text(
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from stnlab.data.dataset import Dataset\n"
        "from stnlab.data.raw import RawImages\n"
        "class Drawn:\n"
        "    def __init__(self, count: int) -> None:\n"
        "        self.shape = (count, 1, 20, 20)\n"
        "    def __getitem__(self, row: int) -> np.ndarray:\n"
        "        image = np.zeros(self.shape[1:], dtype=np.uint8)\n"
        "        image[:, 4:16, 2 + row % 5 : 17 if row % 2 else 8] = 255\n"
        "        return image\n"
        "class Bars(Dataset):\n"
        "    channels, classes = 1, 2\n"
        "    mean, std = (0.3,), (0.4,)\n"
        "    def __init__(self, count: int) -> None:\n"
        "        self.count = count\n"
        "    def load(self, root: Path) -> tuple[RawImages, RawImages]:\n"
        "        train, test = (RawImages(Drawn(n), np.arange(n) % 2) for n in (self.count, 200))\n"
        "        return train, test\n"
    )
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "bars.yaml").write_text(
        "defaults: [mnist_rts, _self_]\n"
        "dataset: {_target_: shapes.Bars, count: 500}\n"
        "distortion: {size: 32, rotation: [-10, 10]}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ["--config-dir=conf", "data=bars", *QUICK, "recipe.steps=60"]
    main([*own, "study=held"])
    main([*own, "study=streamed", "data.memory_gib=0", "data.workers=1"])
    (held,), (streamed,) = (find_runs(tmp_path / "runs" / study) for study in ("held", "streamed"))
    assert held.name.startswith("bars-cnn-input-affine-smoke-s0-")
    assert held.metrics["test/error"] < 0.25
    assert (held.name, held.metrics) == (streamed.name, streamed.metrics)
    with pytest.raises(StnlabError, match=r"data.dataset.count=many: should be a valid integer"):
        main([*own, "data.dataset.count=many"])
    with pytest.raises(StnlabError, match=r"data.workers=-1: should be greater than or equal to 0"):
        main([*own, "data.workers=-1"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(how: signal.Signals, tmp_path: Path):
    longer = [*QUICK, "recipe.steps=null", "recipe.epochs=8", "data.train_size=3000", "trainer.threads=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stnlab.train", *longer, "study=killed"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/killed/*/metrics.csv")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 130}[how]
    if how == signal.SIGTERM:
        assert "interrupted: the same command goes on from the last checkpoint" in said
    (half,) = find_runs(tmp_path / "runs" / "killed")
    assert half.state == "running"
    assert 1 <= len(half.history) < 8

    main([*longer, "study=killed"])
    main([*longer, "study=undisturbed"])
    (whole,) = find_runs(tmp_path / "runs" / "undisturbed")
    assert (half.path / "metrics.json").read_bytes() == (whole.path / "metrics.json").read_bytes()
    assert half.history == whole.history
    assert half.info["images_seen"] == whole.info["images_seen"] == 8 * 3000


def test_a_failing_fresh_start_keeps_the_old_results(tmp_path: Path):
    main([*QUICK, "study=kept"])
    (run,) = find_runs(tmp_path / "runs" / "kept")
    before = run.metrics
    with pytest.raises((StnlabError, OSError)):
        main([*QUICK, "study=kept", "fresh=true", "data.root=/dev/null/x"])
    assert (run.state, run.metrics) == ("done", before)
