import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from stnlab.training.memory import keep_freed_memory
if {kept}:
    keep_freed_memory()
def step():
    for _ in range(8):
        blocks = [torch.ones(5 * 2**20) for _ in range(4)]  # of 20 MiB
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other rules")
def test_what_a_step_frees_the_next_need_not_ask_for_again():
    cleared = {}
    for kept in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, text=True, check=True
        )
        cleared[kept] = int(done.stdout)
    assert cleared[True] < 100 * resource.getpagesize() < cleared[False]
