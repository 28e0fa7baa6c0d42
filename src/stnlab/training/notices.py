"""What Lightning prints."""

import logging
import warnings


def hide_notices() -> None:
    """Keep Lightning's notices on devices and its tips off the terminal; its warnings stay, and what `trainer.profiler`
    found.

    But for one: where SLURM is installed, it advises to start every command by srun.
    """
    warnings.filterwarnings("ignore", "The `srun` command is available on your system but is not used")
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pytorch_lightning.profilers.profiler").setLevel(logging.INFO)
