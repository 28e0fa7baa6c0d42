"""Jobs that go on when the command ends, on this machine, by submitit."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from hydra_plugins.stnlab_launchers.options import check_options
from hydra_plugins.stnlab_launchers.parallel import PER_DEVICE
from hydra_plugins.stnlab_launchers.queue import Jobs, Queue

if TYPE_CHECKING:
    import submitit


class LocalQueue(Queue):
    """Processes of their own for the jobs of a sweep that are not finished. The options are explained in
    `local_queue.yaml`.

    Ctrl-C or the end of the command leaves alone what runs; what had to wait is left to the next one.
    """

    name = "local_queue"

    def __init__(
        self, n_jobs: Annotated[int, Ge(1)], minutes: Annotated[int, Ge(1)], jobs_per_device: Annotated[int, Ge(1)]
    ) -> None:
        check_options(self, locals())
        super().__init__(n_jobs)
        self.at_once, self.minutes, self.jobs_per_device = n_jobs, minutes, jobs_per_device

    def executor(self, folder: Path) -> "submitit.Executor":
        import submitit

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # submitit would give all jobs the same, or none
        own = "unset CUDA_VISIBLE_DEVICES" if visible is None else f"export CUDA_VISIBLE_DEVICES={shlex.quote(visible)}"
        threads = max(1, (os.cpu_count() or 1) // self.side_by_side)
        setup = [f"export {PER_DEVICE}={self.jobs_per_device}", own, "trap '' INT"]  # Ctrl-C is for the command
        setup += [f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}}"]
        executor = submitit.AutoExecutor(folder, cluster="local")
        executor.update_parameters(timeout_min=self.minutes, stderr_to_stdout=True, local_setup=setup)
        return executor

    def states(self, jobs: Jobs) -> Mapping[int, str]:
        return {number: "running" for number, job in jobs.items() if job.state == "RUNNING"}

    def reason(self, job: "submitit.Job[object]") -> str:
        return "its process was killed; perhaps there was not enough memory"
