"""Every combination of the values given."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class Grid(BasicSweeper):
    """Hydra's own sweeper. Our launchers compose all jobs before they start any, so it need not do so too."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass
