"""For `sweep`: a job of Hydra that does nothing."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="empty")
def main(config: DictConfig) -> None:
    """What it costs is Hydra's own."""


if __name__ == "__main__":
    main()
