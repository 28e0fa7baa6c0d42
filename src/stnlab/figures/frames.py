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

SIDE = 56
"""Pixels a picture takes, without the margin that its quadrilateral may need."""
GAP = 4
LINE = 20
"""Pixels for the line that says which epoch it is."""
MOST = 9
MILLISECONDS = 450
LAST = 2000
"""How long the last frame stays."""
GREY = (138, 138, 138, 255)
"""Legible on a light and on a dark page."""


def frames_animation(epochs: Sequence[int] | Array, before: Array, views: Array, corners: Array | None = None) -> bytes:
    """An animated PNG: above what reaches the transformer with the quadrilateral it samples, below the view it makes,
    one frame for each epoch; its background is transparent. The last frame stays for two seconds.

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
    margin = 0 if corners is None else round(SIDE * margin_for(corners[:, :shown]))
    across = SIDE + 2 * margin
    font = ImageFont.load_default(13)
    drawn = []
    for number, (epoch, row) in enumerate(zip(epochs, views, strict=True)):
        frame = Image.new("RGBA", (shown * (across + GAP) - GAP, LINE + across + GAP + SIDE), (0, 0, 0, 0))
        pen = ImageDraw.Draw(frame)
        pen.text((0, 1), f"epoch {int(epoch)}", fill=GREY, font=font)
        for column in range(shown):
            quad = None if corners is None else corners[number, column]
            left = column * (across + GAP)
            frame.paste(_picture(before[column], quad, margin), (left, LINE))
            frame.paste(_picture(row[column], None, 0), (left + margin, LINE + across + GAP))
        drawn.append(frame)
    return drawn


def _picture(picture: Array, quad: Array | None, margin: int) -> Image.Image:
    """SIDE x SIDE in a transparent margin, with the quadrilateral drawn where there is one, its top edge thick."""
    enlarged = Image.fromarray(picture).convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    drawn = Image.new("RGBA", (SIDE + 2 * margin, SIDE + 2 * margin), (0, 0, 0, 0))
    drawn.paste(enlarged, (margin, margin))
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((margin, margin, margin + SIDE - 1, margin + SIDE - 1), outline=style.FAINT)
    if quad is not None:
        points = [(float(x) + margin, float(y) + margin) for x, y in to_pixels(quad, SIDE, SIDE)]
        pen.line([*points, points[0]], fill=style.SKY, width=1)
        pen.line(points[:2], fill=style.VERMILION, width=3)
    return drawn
