"""What a stranger made: nothing of theirs is run, nothing leaves its place, no secret of ours is written."""

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from optuna.storages import RDBStorage

import stnlab
from stnlab import evaluate, resume
from stnlab.compose import without_password
from stnlab.data.torchvision_sets import Cifar10, Gtsrb
from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory, find_runs
from stnlab.runs.plan import Planned, change_plan
from stnlab.runs.search import Search, write_search
from stnlab.train import main
from stnlab.trust import UntrustedError, allowed_targets

QUICK = ["recipe=smoke", "recipe.steps=2", "callbacks=quiet", "logger=none", "trainer=cpu", "evaluation.images=0"]
QUICK += ["data.train_size=300", "data.validation_size=200", "data.test_size=200", "backbone.channels=[4,4]"]
EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from stnlab.geometry.transforms import Affine as Evil
def evil(*args, **kwargs):
    pass
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module within reach that says, by a file, when it is as much as imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STNLAB_DATA", str(mnist_root))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "evil.py").write_text(EVIL)


def ran() -> bool:
    return Path("modules/ran").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mnist_root: Path) -> Path:
    place = tmp_path_factory.mktemp("trained")
    main([*QUICK, "study=mine", f"runs_dir={place}", f"data.root={mnist_root}"])
    return find_runs(place / "mine")[0].path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDirectory:
    shutil.copytree(trained, tmp_path / "runs" / "mine" / trained.name)
    return RunDirectory(tmp_path / "runs" / "mine" / trained.name)


ROLES = [
    "transform",
    "data",
    "data.dataset",
    "data.distortion",
    "backbone",
    "localizer",
    "placement",
    "sampler",
    "recipe",
]
ROLES += [
    "recipe.optimizer",
    "recipe.schedule",
    "callbacks.mine",
    "logger.mine",
    "data.train_size",
    "evaluation",
    "seed",
]


@pytest.mark.parametrize(
    "target", ["evil.Evil", "os.system", "torch.hub.load", "torch.optim.Optimizer", "stnlab.trust.cache"]
)
def test_a_configuration_names_no_class_but_those_of_its_role(run: RunDirectory, target: str):
    whole = run.config
    assert ran() is False
    for role in ROLES:
        config: dict[str, Any] = json.loads(json.dumps(whole))
        *parents, name = role.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        own = node.get(name)
        node[name] = {**(own if isinstance(own, dict) else {}), "_target_": target, "command": "touch modules/ran"}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
        shown = role.replace(".mine", ".*")
        for use in (lambda: stnlab.load_run(run.path), lambda: evaluate.main([str(run.path), "trainer=cpu"])):
            with pytest.raises(StnlabError, match=rf"config.yaml: {shown}\._target_={target} is no class that conf/"):
                use()
    config = json.loads(json.dumps(whole))
    config["placement"]["iterations"] = [{"deeper": [{"_target_": target}]}]
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(StnlabError, match="is no class that conf/"):
        stnlab.load_run(run.path)
    assert not ran()


def test_a_class_of_ones_own_is_named_by_its_folder(run: RunDirectory):
    config = run.config
    config["transform"]["_target_"] = "evil.Evil"
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    (Path("conf") / "transform").mkdir(parents=True)
    Path("conf/transform/mine.yaml").write_text("_target_: evil.Evil\n")
    assert stnlab.load_run(run.path, config_dir="conf").network.transformers
    assert evaluate.main([str(run.path), "--config-dir=conf", "trainer=cpu"]) == 0
    assert ran()
    assert "evil.Evil" not in allowed_targets([Path("conf")])["backbone"]
    with pytest.raises(StnlabError, match="evaluate has --config-dir and --update alone"):
        evaluate.main([str(run.path), "--multirun"])
    with pytest.raises(StnlabError, match="--updat: no such flag; did you mean --update"):
        evaluate.main([str(run.path), "--updat"])


class Bomb:
    def __reduce__(self) -> Any:
        return Path("modules/ran").touch, ()


def test_a_checkpoint_runs_no_code(run: RunDirectory):
    run.last_checkpoint.unlink()
    torch.save({"state_dict": Bomb()}, run.last_checkpoint)
    for attempt in (lambda: stnlab.load_run(run.path), lambda: main([*QUICK, "study=mine"])):
        with pytest.raises(StnlabError, match=r"last.ckpt: cannot be loaded"):
            attempt()
        run.best_checkpoint.unlink(missing_ok=True)
        run.update(state="running")
    run.last_checkpoint.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(StnlabError, match=r"last.ckpt: cannot be loaded"):
        main([*QUICK, "study=mine"])
    assert not ran()


HOSTILE = [
    "transform._target_=evil.Evil",
    "+callbacks.x={_target_: evil.evil}",
    "+recipe.extra={deep: [{_target_: evil.evil}]}",
    "data.dataset._target_=evil.evil",
    "trainer._target_=evil.evil",
    "+hydra.callbacks.x._target_=evil.evil",
    "++hydra.launcher._target_=evil.evil",
    "hydra/launcher=parallel",
    "hydra.searchpath=[file://evil]",
    "hydra.job.env_set={PATH: evil}",
    "+transform@hydra.launcher=affine",
    "backbone=../../../../../../../../../../{here}/evil/backbone/x",
    "+experiment={here}/evil/backbone/x",
    "data.dataset={_target_: stnlab.data.folder.Folder, name: '${oc.env:SECRET}'}",
    "logger=mlflow",
    "--config-dir={here}/evil",
    "--multirun",
    "seed=1 --multirun",
]


def test_a_plan_says_nothing_that_runs_code_or_reads_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SECRET", "very-secret")
    (tmp_path / "evil" / "backbone").mkdir(parents=True)
    bomb = "# @package _global_\nhydra: {callbacks: {x: {_target_: evil.evil}}}\n"
    (tmp_path / "evil" / "backbone" / "x.yaml").write_text(bomb)
    for number, argument in enumerate(HOSTILE):
        extra = ["logger.mlflow.tracking_uri=http://localhost:9/"] if argument == "logger=mlflow" else []
        study = tmp_path / "runs" / f"study{number}"
        written = argument.replace("{here}", str(tmp_path))
        change_plan(study, {"a-run": Planned([*QUICK, written, *extra], str(tmp_path / "evil"))})
        with pytest.raises(StnlabError, match="failed: a-run: ") as caught:
            resume.main([str(study)])
        assert "\n" not in str(caught.value), argument
        assert not ran(), argument
        assert find_runs(study, empty=True) == [], argument
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]


@pytest.mark.parametrize(
    "argument",
    [
        "hydra.sweeper.sampler._target_=evil.evil",
        "hydra.sweeper.storage=evil://x",
        "hydra/callbacks=evil",
        "+a@hydra=b",
    ],
)
def test_nor_does_a_search(tmp_path: Path, argument: str):
    study = tmp_path / "runs" / "mine"
    study.mkdir(parents=True)
    write_search(study, Search(["-m", "hydra/sweeper=optuna", *QUICK, argument], str(tmp_path), trials=2, done=0))
    with pytest.raises(StnlabError, match=r"search: .*not from a file"):
        resume.main([str(study)])
    assert not ran()
    assert not (study / "optuna.db").exists()


@pytest.mark.parametrize("password", ["pass-word", "pass/word", "p@ss:word"])
def test_a_password_that_was_left_out_is_to_be_typed_anew(password: str):
    server = f"+callbacks.own.server='https://me:{password}@localhost/x'"
    kept = without_password(server)
    assert "word" not in kept
    assert kept.endswith("@localhost/x'")
    assert resume._harmless([server], [], [], False) == [server]
    with pytest.raises(UntrustedError, match="type it after the study's path"):
        resume._harmless([kept], [], [], False)
    assert resume._harmless([kept], [], [server], False) == []


def test_what_is_typed_beside_the_study_is_trusted(tmp_path: Path):
    study, own = tmp_path / "runs" / "mine", tmp_path / "own"
    (own / "transform").mkdir(parents=True)
    (own / "transform" / "mine.yaml").write_text("_target_: evil.Evil\n")
    change_plan(study, {"a": Planned([f"--config-dir={own}", *QUICK, "transform=mine"], str(tmp_path))})
    with pytest.raises(StnlabError, match=f"if you trust them, add --config-dir={own}"):
        resume.main([str(study)])
    assert resume.main([str(study), f"--config-dir={own}"]) == 0
    assert [run.state for run in find_runs(study)] == ["done"]


@pytest.mark.parametrize(
    ("dataset", "archive"), [(Cifar10(), "cifar-10-python.tar.gz"), (Gtsrb(8), "gtsrb/GTSRB-Training_fixed.zip")]
)
def test_archives_do_not_leave_the_data_root(
    dataset: Any, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """None is unpacked unless it is the known one, byte by byte."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    path = tmp_path / "data" / archive
    path.parent.mkdir(parents=True)
    if archive.endswith("zip"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("../../escaped", b"x")
    else:
        with tarfile.open(path, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    with pytest.raises(StnlabError) as caught:
        dataset.load(tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("escaped"))


def test_no_secret_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    secrets = {
        "WANDB_API_KEY": "0123456789abcdef" * 3,
        "MLFLOW_TRACKING_TOKEN": "mlflow-token",
        "PASSWORD": "pass-word",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    main([*QUICK, "study=mine", "placement=none", "logger=[wandb,csv,tensorboard,mlflow]"])
    (run,) = find_runs(Path("runs/mine"))
    server, connect = "postgresql://me:pass-word@localhost/searches", RDBStorage.__init__
    here = {server: f"sqlite:///{tmp_path}/searches.db"}
    monkeypatch.setattr(RDBStorage, "__init__", lambda self, url: connect(self, here[url]))
    search = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", f"hydra.sweeper.storage='{server}'", "seed=0,1"]
    main([*QUICK, "study=searched", "placement=none", *search])
    assert "me:***@localhost" in Path("runs/searched/search.json").read_text()
    run.fail("made for this test", "")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    for path in written:
        content = path.read_bytes()
        assert not [name for name, value in secrets.items() if value.encode() in content], path
