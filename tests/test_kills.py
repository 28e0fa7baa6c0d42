"""A sweep that is killed with -9 wherever it may be ends as if nothing had happened."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_killed_sweep_ends_as_if_nothing_had_happened(tmp_path: Path, mnist_root: Path):
    """Five kills, or as many as $STNLAB_KILLS says; $STNLAB_KILLS_SEED draws the moments again."""
    kills = os.environ.get("STNLAB_KILLS", "5")
    seed = os.environ.get("STNLAB_KILLS_SEED", "0")
    command = [sys.executable, str(Path(__file__).with_name("killed_sweep.py")), seed, kills]
    environment = {**os.environ, "STNLAB_DATA": str(mnist_root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nkill ") == int(kills)
