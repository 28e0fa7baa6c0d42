"""Lightning without its profiler."""

from contextlib import AbstractContextManager, nullcontext

from pytorch_lightning.profilers import PassThroughProfiler

NOTHING = nullcontext()


class Unprofiled(PassThroughProfiler):
    """As Lightning's default, but no generator is entered around each of a step's fifty hooks: a tenth of a
    millisecond."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return NOTHING
