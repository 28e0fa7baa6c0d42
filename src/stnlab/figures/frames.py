"""The views over the epochs of training, as a short animation."""

import io
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stnlab.errors import StnlabError
from stnlab.figures import style
from stnlab.figures.views import margin_for, to_pixels

Array = NDArray[Any]

DENSITY = 2
"""Pixels of the image for each pixel of the page: lines at an angle stay whole."""
ACROSS = 128
"""Pixels a picture takes with the margin that its quadrilateral needs."""
GAP = 4
LINE = 36
"""Pixels for the line that says which epoch it is."""
MOST = 9
MILLISECONDS = 450
LAST = 2000
"""How long the last frame stays."""
GREY = (138, 138, 138, 255)
"""Legible on a light and on a dark page."""


def frames_animation(epochs: Sequence[int] | Array, before: Array, views: Array, corners: Array | None = None) -> bytes:
    """An animated PNG: above what reaches the transformer with the quadrilateral it samples, below the view it makes,
    one frame for each epoch, DENSITY times as large as on a page; its background is transparent. The last frame stays
    for two seconds.

    epochs: [E]. before: [M, h, w] uint8. views: [E, M, h', w'] uint8. corners: [E, M, 4, 2], where the view's corners
    (top left, top right, bottom right, bottom left) were sampled, normalised (x, y), align_corners=False.

    Raises StnlabError if the counts do not fit.
    """
    frames = _frames(epochs, before, views, corners)
    buffer = io.BytesIO()
    lasting = [MILLISECONDS] * (len(frames) - 1) + [LAST]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=lasting, loop=0, optimize=False)
    return buffer.getvalue()


def last_frame(epochs: Sequence[int] | Array, before: Array, views: Array, corners: Array | None = None) -> bytes:
    """The end of `frames_animation` as a still PNG, for who prefers less motion and for print."""
    frames = _frames(epochs, before, views, corners)
    buffer = io.BytesIO()
    frames[-1].save(buffer, "PNG")
    return buffer.getvalue()


def _frames(epochs: Sequence[int] | Array, before: Array, views: Array, corners: Array | None) -> list[Image.Image]:
    shown = min(views.shape[1], MOST)
    if len(epochs) != len(views) or not len(epochs) or len(before) < shown:
        raise StnlabError(f"{len(epochs)} epochs, views {views.shape} and images {before.shape} do not fit")
    # the same in all frames, or the pictures would jump
    side = ACROSS if corners is None else side_for(corners[:, :shown])
    margin = (ACROSS - side) // 2
    font = ImageFont.load_default(13 * DENSITY)
    drawn = []
    for number, (epoch, row) in enumerate(zip(epochs, views, strict=True)):
        frame = Image.new("RGBA", (shown * (ACROSS + GAP) - GAP, LINE + ACROSS + GAP + side), (0, 0, 0, 0))
        pen = ImageDraw.Draw(frame)
        pen.text((0, 1), f"epoch {int(epoch)}", fill=GREY, font=font)
        for column in range(shown):
            quad = None if corners is None else corners[number, column]
            left = column * (ACROSS + GAP)
            frame.paste(_picture(before[column], quad, side, margin), (left, LINE))
            frame.paste(_picture(row[column], None, side, 0), (left + margin, LINE + ACROSS + GAP))
        drawn.append(frame)
    return drawn


def side_for(corners: Array) -> int:
    """Pixels that a picture takes where its quadrilaterals are all in sight: as the margin is even, so is this."""
    return 2 * int(ACROSS / (1 + 2 * margin_for(corners)) / 2)


def _picture(picture: Array, quad: Array | None, side: int, margin: int) -> Image.Image:
    """side x side in a transparent margin, with the quadrilateral drawn where there is one, its top edge thick."""
    enlarged = Image.fromarray(picture).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
    drawn = Image.new("RGBA", (side + 2 * margin, side + 2 * margin), (0, 0, 0, 0))
    drawn.paste(enlarged, (margin, margin))
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((margin, margin, margin + side - 1, margin + side - 1), outline=style.FAINT)
    if quad is not None:
        points = [(float(x) + margin, float(y) + margin) for x, y in to_pixels(quad, side, side)]
        pen.line([*points, points[0]], fill=style.SKY, width=DENSITY)
        pen.line(points[:2], fill=style.VERMILION, width=3 * DENSITY)
    return drawn
