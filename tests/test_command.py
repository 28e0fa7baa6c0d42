import subprocess
import sys

import pytest

PRINTS = "from stnlab.command import run_command; run_command(lambda _: print('a line\\n' * 100_000))"
OTHERS = (
    "from stnlab.command import run_command\ndef body(_):\n    raise BrokenPipeError('of a worker')\nrun_command(body)"
)


def test_a_reader_that_ends_early_ends_a_command_without_a_traceback():
    with subprocess.Popen([sys.executable, "-c", PRINTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 141


@pytest.mark.parametrize(("code", "status"), [(OTHERS, 1), (PRINTS, 0)])
def test_other_pipes_and_readers_are_left_alone(code: str, status: int):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("BrokenPipeError: of a worker" in done.stderr) == (status == 1)
