"""What Lightning prints."""

import logging


def hide_notices() -> None:
    """Keep Lightning's notices on devices and its tips off the terminal; its warnings stay."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
