"""What happens when a transformer has collapsed: a line on the terminal and, if chosen, the end of the training."""

from typing import Any

import pytorch_lightning as pl

from stnlab.errors import StnlabError
from stnlab.runs.directory import RunDirectory
from stnlab.runs.identity import Config
from stnlab.training.classifier import Classifier


class CollapseNotice(pl.Callback):
    """Says once, at the first validation that finds one, which transformers have collapsed; else after the test."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._said = False

    def state_dict(self) -> dict[str, Any]:
        return {"said": self._said}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._said = state_dict["said"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._say(pl_module, f"after epoch {trainer.current_epoch + 1}")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._say(pl_module, "on the test images")

    def _say(self, module: pl.LightningModule, when: str) -> None:
        assert isinstance(module, Classifier)
        if module.collapsed and not self._said:
            named = "; ".join(f"transformer {number} has collapsed: {why}" for number, why in module.collapsed.items())
            module.print(f"{self.run.path}: {when}, {named}", flush=True)
            self._said = True


class StopWhenCollapsed(pl.Callback):
    """Ends a training at the first validation that finds a collapsed transformer. The run is tested and done as any
    other; `run.json` says `stopped`.

    Raises StnlabError without validation images, which it could not do its work with.
    """

    def __init__(self, run: RunDirectory, config: Config) -> None:
        if config["data"].get("validation_size") == 0:
            raise StnlabError(
                "callbacks.stop_when_collapsed: looks at validation images, and data.validation_size=0 leaves none; "
                "give some, or callbacks=default"
            )
        self.run = run
        self._epoch: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._epoch = state_dict["epoch"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self._epoch is not None  # interrupted between its last epoch and its results

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        if pl_module.collapsed and self._epoch is None:
            self._epoch = trainer.current_epoch + 1
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._epoch is not None and trainer.is_global_zero:
            self.run.update(stopped=f"collapsed after epoch {self._epoch}")
