"""Clutter: small crops of other samples' images, strewn over an image."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from stnlab.data.ranges import Parameters, Range, within
from stnlab.geometry.constants import constant
from stnlab.geometry.maps import AffineMap
from stnlab.geometry.sampling import sample
from stnlab.seeds import generator

DRAWN = ("crop_x", "crop_y", "place_x", "place_y")


def draw_clutter(
    count: int, crops: tuple[int, ...], rows: Tensor, scale: Range | None, *key: int | str
) -> dict[str, Tensor]:
    """For `count` samples of a store: how many crops each gets, of which images, from where, to where.

    crops: [low, high], how many. rows: the samples of the store that may be cropped. scale: [low, high], of each crop's
    magnification, which is drawn as `clutter_scale` [count, high]; None: none is. Returns `clutter` [count], and
    [count, high] each `clutter_source` (rows of the store, never the sample's own unless there is no other) and
    `crop_x`, `crop_y`, `place_x`, `place_y` in [0, 1): shares of the free way.
    """
    most = crops[1]
    amount = within(torch.rand(count, generator=generator(*key, "clutter")), (crops[0], most + 1)).floor()
    unit = torch.rand(count, most, generator=generator(*key, "clutter_source"), dtype=torch.float64)
    source = rows[(unit * max(len(rows) - 1, 1)).long()]
    # All rows but the last can be drawn; the last stands in for a sample's own. So all others are equally likely.
    source = torch.where(source == torch.arange(count)[:, None], rows[-1], source)
    places = {name: torch.rand(count, most, generator=generator(*key, name)) for name in DRAWN}
    if scale:
        places["clutter_scale"] = within(torch.rand(count, most, generator=generator(*key, "clutter_scale")), scale)
    return {"clutter": amount.clamp(max=most), "clutter_source": source, **places}


def strew(images: Tensor, sources: Tensor, drawn: Parameters, side: int, zoom: Tensor, largest: float) -> Tensor:
    """Images with crops pasted over them; where a crop and the image overlap, the brighter one shows.

    images: [N, C, H, W] in [0, 1]. sources: uint8 [N, K, C, h, w], what `clutter_source` names. side: of a crop, in
    the source's pixels. zoom: [N, K], at most `largest`, magnification of each crop. A crop lies inside the
    image unless it is larger.
    """
    count, crops, channels, *lengths = sources.shape
    *_, height, width = images.shape
    source_size = constant(tuple(lengths[::-1]), torch.int64, images.device)
    frame = constant((width, height), torch.int64, images.device)
    pasted = (side * zoom).round().clamp(min=1)[..., None].expand(count, crops, 2)
    start = _position(drawn, "crop", source_size - side)
    place = _position(drawn, "place", frame - pasted)

    window = math.ceil(side * largest)
    centre = start + window / 2 / zoom[..., None]
    values = _windows(sources.flatten(0, 1) / 255, centre, window / zoom, window)
    axis = torch.arange(window, device=images.device)
    inside = axis < pasted[..., None]  # [N, K, 2, window]
    inside &= axis + place[..., None] < frame[:, None]
    inside &= (torch.arange(crops, device=images.device) < drawn["clutter"][:, None])[..., None, None]
    shown = inside[:, :, 1, :, None] & inside[:, :, 0, None, :]
    values = values.reshape(count, crops, channels, window, window) * shown[:, :, None]

    x, y = ((place[..., None] + axis).clamp(max=frame[:, None] - 1).long()).unbind(2)
    flat = (y[..., :, None] * width + x[..., None, :])[:, :, None].expand_as(values)
    index, source = (tensor.transpose(1, 2).flatten(2) for tensor in (flat, values))
    with _in_any_order():
        return images.flatten(2).scatter_reduce(2, index, source, "amax").reshape(images.shape)


@contextmanager
def _in_any_order() -> Iterator[None]:
    """On a GPU torch refuses what meets in any order where deterministic algorithms are asked for; but the largest of
    several values is the same in every order."""
    asked, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if asked:
        torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        if asked:
            torch.use_deterministic_algorithms(True, warn_only=warns)


def _position(drawn: Parameters, name: str, free: Tensor) -> Tensor:
    """[N, K, 2] whole pixels from the left and the top: a share of the free way, both ends included."""
    share = torch.stack([drawn[f"{name}_x"], drawn[f"{name}_y"]], dim=-1)
    return (share * (free.clamp(min=0) + 1)).floor()


def _windows(sources: Tensor, centre: Tensor, extent: Tensor, window: int) -> Tensor:
    """[N * K, C, window, window]: squares around `centre` [N, K, 2], in pixels, with sides `extent` [N, K]."""
    size = constant(tuple(sources.shape[:1:-1]), torch.int64, sources.device)
    shift = (2 * centre / size - 1).flatten(0, 1)
    scale = extent.flatten()[:, None] / size
    return sample(sources, AffineMap(torch.cat([torch.diag_embed(scale), shift[:, :, None]], dim=-1)), (window, window))
