"""One run from start, or from where it was interrupted, to its results."""

import datetime
import platform
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException

from stnlab.choices import build
from stnlab.errors import StnlabError, type_and_line
from stnlab.runs.code_version import code_version
from stnlab.runs.directory import RunDirectory
from stnlab.runs.files import UnwritableError
from stnlab.runs.identity import Config, normalise
from stnlab.training.collapse import CollapseNotice
from stnlab.training.components import Components, build_components
from stnlab.training.devices import check_devices, cpu_name, hidden_gpus, prepare_determinism
from stnlab.training.frames import FrameRecorder
from stnlab.training.hooks import Unprofiled, shorten_steps
from stnlab.training.inspection import inspect_network
from stnlab.training.loading import checkpoint_to_go_on_from
from stnlab.training.memory import keep_freed_memory
from stnlab.training.notices import hide_notices
from stnlab.training.recorder import Recorder, WholeCheckpoints
from stnlab.training.stopping import Stopper
from stnlab.training.summary import summarise
from stnlab.training.tracking import publish, tracked

TORCHS_THREADS = torch.get_num_threads()


def train_run(config: Config, locked: bool = False) -> RunDirectory:
    """Train, test and write one run, in this process. locked: whoever started this process keeps others off the run.

    An interrupted run goes on from its last checkpoint. Raises StnlabError for a wrong choice, before anything is
    read or written; any error during the run is noted in `run.json` and raised.
    """
    normalised = normalise(config)
    run = RunDirectory.of(Path(config["runs_dir"]) / config["study"], normalised)
    set_threads(config["trainer"].get("threads"))
    prepare_determinism(config["trainer"].get("deterministic", False))
    components = build_components(config)
    if mode := config["trainer"].get("compile"):
        components.module.compile_training(mode)
    stopper = Stopper()
    recorder = Recorder(run, config["checkpoint_seconds"], stopper)
    frames = FrameRecorder(components.module.network, components.data)
    callbacks = [CollapseNotice(run), frames, recorder, stopper]
    given = {"run": run, "config": normalised, "id": run.start_id(normalised, config["fresh"] or run.to_renew)}
    trainer = build_trainer(config, components, given, callbacks)
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu:
        keep_freed_memory()
    first = trainer.is_global_zero
    if first:
        components.data.prepare_data()  # before `fresh` throws anything away
    with nullcontext() if locked else run.lock(wait=config["busy"] == "wait"):
        fresh = config["fresh"] or run.to_renew
        if not fresh and run.finished:
            return run  # the process that this one waited for has trained it
        begun = not fresh and run.state != "absent"
        if begun and (named := run.info.get("id") or given["id"]) != given["id"]:
            given["id"] = named  # by the process that this one waited for, and that has died
            trainer = build_trainer(config, components, given, callbacks)
        if first:
            if fresh:
                run.clear()
            print(f"{run.path}: {'goes on' if run.last_checkpoint.exists() else 'starts'}", flush=True)
            about = {"id": given["id"], "overrides": config["overrides"], "folder": str(Path.cwd())}
            about |= {"data_root": str(components.data.root.absolute())}
            run.start(normalised, about | _environment(trainer, components))
        try:
            hidden = hidden_gpus() if on_cpu else nullcontext()
            with hidden, tracked(trainer.loggers, run) if first else nullcontext():
                _fit_and_test(run, components, trainer, recorder, frames)
        except SystemExit as stop:
            raise KeyboardInterrupt from stop  # Lightning's answer to Ctrl-C
        except Exception as error:
            if stopper.asked:  # workers of the data got the signal, too, and are missed
                raise KeyboardInterrupt from error
            # of several processes the first that fails says why; a logger may fail when all results are written
            if run.state == "running":
                try:
                    run.fail(type_and_line(error), "".join(traceback.format_exception(error)))
                except UnwritableError as unwritten:  # a full disk must not hide what came first
                    error.add_note(f"and this could not be noted in {run.path} ({unwritten})")
            raise
    return run


def check_run(config: Config) -> None:
    """Raises StnlabError for what `train_run` would refuse, writing nothing; fetches the data if they are missing."""
    build_components(config).data.prepare_data()


def _fit_and_test(
    run: RunDirectory, components: Components, trainer: pl.Trainer, recorder: Recorder, frames: FrameRecorder
) -> None:
    resume = checkpoint_to_go_on_from(run, components.module, trainer.is_global_zero)
    trainer.fit(components.module, components.data, ckpt_path=resume, weights_only=True)
    trainer.test(components.module, datamodule=components.data, verbose=False)
    if not trainer.is_global_zero:
        return
    run.write_predictions(components.module.predictions)
    evaluation = inspect_network(components, run.config, frames.frames())
    run.write_evaluation(evaluation)
    canvas = components.data.distortion.size
    run.write_metrics(summarise(components.module.predictions, canvas, evaluation, recorder.rows))
    run.write_history(recorder.rows)  # a kill may have come between the last checkpoint and its row
    run.update(state="done", ended=_now(), **recorder.timings())
    publish(trainer.loggers, run)


def build_trainer(
    config: Config, components: Components, given: dict[str, Any], callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Lightning's trainer with the loggers, callbacks and length that the configuration names.

    given: `run`, `config` (normalised) and `id`, which loggers and callbacks may take. Processes are ours or
    torchrun's: by itself Lightning would take each task of a SLURM job for one, and requeue the job in a handler.
    """
    recipe, accumulated = components.module.recipe, config["trainer"].get("accumulate_grad_batches", 1)
    check_devices(config["trainer"])
    options = {name: value for name, value in config["trainer"].items() if name not in ("threads", "compile")}
    options["profiler"] = options.get("profiler") or Unprofiled()
    chosen = [build(node, f"callbacks.{name}", **given) for name, node in config["callbacks"].items()]
    loggers = [build(node, f"logger.{name}", **given) for name, node in config["logger"].items()]
    hide_notices()
    processes = TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()
    try:
        trainer: pl.Trainer = build(
            options,
            "trainer",
            logger=loggers,
            callbacks=[*chosen, *callbacks],
            max_epochs=recipe.epochs if recipe.epochs is not None else -1,
            max_steps=recipe.steps if recipe.steps is not None else -1,
            limit_train_batches=recipe.steps * accumulated if recipe.steps is not None else 1.0,
            limit_val_batches=1.0 if components.data.validates else 0,
            gradient_clip_val=recipe.gradient_clip_norm,
            default_root_dir=given["run"].path,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar="progress" in config["callbacks"],
            use_distributed_sampler=False,
            plugins=[WholeCheckpoints(), processes],
        )
    except (MisconfigurationException, ValueError) as error:
        raise StnlabError(f"trainer: {type_and_line(error)}") from error
    shorten_steps(trainer, components.module, components.data)
    # With max_steps, Lightning takes the end of an epoch for its middle when a run goes on, and ends the epoch twice.
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
    return trainer


def _environment(trainer: pl.Trainer, components: Components) -> dict[str, Any]:
    root = trainer.strategy.root_device
    device = torch.cuda.get_device_name(root) if root.type == "cuda" else cpu_name()
    return code_version() | {
        "device": f"{root.type}: {device}",
        "devices": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "parameters": sum(parameter.numel() for parameter in components.module.network.parameters()),
        "started": _now(),
        "ended": None,
    }


def set_threads(threads: int | None) -> None:
    """CPU threads of this process; None: as many as torch started with, whatever an earlier job of a sweep chose."""
    torch.set_num_threads(threads or TORCHS_THREADS)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
