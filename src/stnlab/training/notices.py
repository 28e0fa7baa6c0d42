"""What Lightning prints."""

import logging
import warnings

LIGHTNING = ("pytorch_lightning", "lightning_fabric")


def hide_notices() -> None:
    """Keep Lightning's notices on devices and its tips off the terminal; its warnings stay, and what `trainer.profiler`
    found, in each job of a sweep: Hydra disables all loggers before the next.

    But for one: where SLURM is installed, it advises to start every command by srun.
    """
    warnings.filterwarnings("ignore", "The `srun` command is available on your system but is not used")
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] in LIGHTNING and isinstance(logger, logging.Logger):
            logger.disabled = False
    for name in LIGHTNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pytorch_lightning.profilers.profiler").setLevel(logging.INFO)
