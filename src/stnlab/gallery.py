"""`python -m stnlab.gallery data=...`: one picture of samples before and after the distortion, with their poses."""

from pathlib import Path
from typing import Annotated, Any, Literal

from stnlab.command import run_command
from stnlab.errors import StnlabError, nearest
from stnlab.imports import importing

USAGE = (
    "python -m stnlab.gallery data=... [split=train|val|test] [samples=10] [output=gallery.png] [data.key=value ...] "
    "[--config-dir=my_conf]"
)


def main(arguments: list[str]) -> int:
    """Draw the picture and say where it is."""
    if {"--help", "-h"} & set(arguments):
        print(f"{USAGE}\n\n{__doc__}")
        return 0
    from stnlab.compose import compose

    config = compose("gallery", with_own_choices(arguments))
    check_settings(config)
    from stnlab.choices import build

    with importing():
        from stnlab.data.gallery import first_samples
        from stnlab.data.module import ImageData
        from stnlab.figures.gallery import gallery
        from stnlab.figures.style import png

    count = config["samples"]
    data = build(config["data"], "data", training_seed=0, batch_size=count, eval_batch_size=count)
    if not isinstance(data, ImageData):
        raise StnlabError(f"data: {type(data).__name__} is no ImageData; choose another _target_")
    samples = first_samples(data, config["split"])
    title = f"data={config['choices']['data']}, {config['split']} split"
    path = Path(config["output"])
    try:
        path.write_bytes(png(gallery(samples.before, samples.after, samples.labels, samples.poses, title)))
    except OSError as error:
        raise StnlabError(f"output={path}: cannot be written ({error.strerror})") from error
    print(path)
    return 0


def with_own_choices(arguments: list[str]) -> list[str]:
    """Overrides alone, with what `--config-dir` says as one. Raises StnlabError for any other flag."""
    from stnlab.compose import folders_and_overrides, searched

    found, overrides = folders_and_overrides(arguments, "the gallery")
    return [*searched(found), *overrides]


def check_settings(config: dict[str, Any]) -> None:
    """Raises StnlabError for a key that is unknown or wrong."""
    from annotated_types import Ge, Le

    from stnlab.choices import check

    types: dict[str, Any] = {
        "data": dict[str, Any],
        "split": Literal["train", "val", "test"],
        "samples": Annotated[int, Ge(1), Le(20)],
        "output": str,
    }
    for key in set(config) - {"choices", "overrides"}:
        if key not in types:
            raise StnlabError(f"{key}: no such key{nearest(key, types)}")
        check(config[key], types[key], key)
    path = Path(config["output"])
    if path.suffix.lower() != ".png":
        raise StnlabError(f"output={path}: the picture is a PNG; give a name that ends in .png")
    if not path.parent.is_dir():
        raise StnlabError(f"output={path}: cannot be written (there is no folder {path.parent})")


if __name__ == "__main__":
    run_command(main)
