"""The simulated road (data.sources.road) from above: what a camera would see, and where cars are.

Car 0 drives to the right and stays where it is in the picture; the leftmost lane is on top. Lanes
are stretched: a picture is as high as the road and as wide as it is said to be. Every pixel has the
share of it that a car covers, so that a car between two pixels can be told from one on either.

Shape letters: K cars, H height, W width; in front of them any others.
"""

import io
import itertools
from typing import NamedTuple

import numpy as np

from data.sources import road

CAR_WIDTH = 0.5  # lanes
RATE = 5  # pictures of a film, to a decision, which takes a second
DASH = 8.0  # m of a line between lanes, and of the gap behind it
COLOURS = ROAD, LINE, OTHERS, OWN, CRASHED = (
    (58, 60, 64),
    (150, 150, 150),
    (214, 214, 206),
    (64, 156, 255),
    (255, 84, 72),
)  # red, green, blue
GREYS = (0, 85, 170, 255)  # of letters


class View(NamedTuple):
    """A picture of a part of the road."""

    height: int  # pixels
    width: int
    behind: float  # m from car 0 to the left edge
    ahead: float  # and to the right one

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels to a metre along the road, and to a lane across it."""
        return self.width / (self.behind + self.ahead), self.height / road.LANES


def boxes(view: View, metres: np.ndarray, lanes: np.ndarray) -> np.ndarray:
    """Left, top, right and bottom [..., K, 4] of cars in pixels, many outside of the picture.

    Args:
      view: of the picture.
      metres: [..., K] ahead of car 0, from middle to middle.
      lanes: [..., K] from the leftmost.
    """
    along, across = view.scale
    middle = np.stack([(metres + view.behind) * along, (lanes + 0.5) * across], axis=-1)
    half = np.array([road.LENGTH * along, CAR_WIDTH * across]) / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


def covered(view: View, box: np.ndarray) -> np.ndarray:
    """The share of each pixel that lies in a box: [..., 4] -> [..., H, W]."""

    def share(low: np.ndarray, high: np.ndarray, pixels: int) -> np.ndarray:
        edge = np.arange(pixels)
        low, high = low[..., None], high[..., None]
        return np.clip(np.minimum(high, edge + 1) - np.maximum(low, edge), 0, 1)

    across = share(box[..., 1], box[..., 3], view.height)
    along = share(box[..., 0], box[..., 2], view.width)
    return across[..., :, None] * along[..., None, :]


def picture(
    view: View, box: np.ndarray, alive: bool = True, dashes: np.ndarray | bool = True
) -> np.ndarray:
    """Cars on the road, float64 [H, W, 3] of 0 to 255.

    Args:
      view: of the picture.
      box: [K, 4] of cars, the own one first; see `boxes`.
      alive: whether the own car has not crashed.
      dashes: bool [W], where there are lines between lanes.
    """
    pixels = np.broadcast_to(np.array(ROAD, np.float64), (view.height, view.width, 3)).copy()
    for lane in range(1, road.LANES):
        pixels[round(lane * view.scale[1]), dashes] = LINE
    colours = [OWN if alive else CRASHED] + [OTHERS] * (len(box) - 1)
    for share, colour in reversed(list(zip(covered(view, box)[..., None], colours))):
        pixels += share * (np.array(colour) - pixels)
    return pixels


def film(view: View, worlds: road.World) -> np.ndarray:
    """A drive as pictures, uint8 [1 + (T - 1) * RATE, H, W, 3], of worlds [T, V] a decision apart;
    between two of them cars are where they were on the way."""
    x, y = (np.asarray(column, np.float64) for column in (worlds.x, worlds.y))
    moved = np.cumsum(road.offset(np.diff(x, axis=0)), axis=0)
    x = x[0] + np.concatenate([np.zeros((1, x.shape[1])), moved])
    at = np.arange(1 + (len(x) - 1) * RATE) / RATE
    x, y = (np.stack([np.interp(at, np.arange(len(z)), car) for car in z.T], 1) for z in (x, y))
    alive = np.asarray(worlds.alive)[np.floor(at).astype(int)]
    along = (np.arange(view.width) + 0.5) / view.scale[0] - view.behind
    pictures = []
    for metres, lanes, going in zip(x, y, alive):
        box = boxes(view, road.offset(metres - metres[0]), lanes)
        pictures.append(picture(view, box, going, (metres[0] + along) % (2 * DASH) < DASH))
    return np.stack(pictures).round().astype(np.uint8)


def gif(pictures: np.ndarray) -> bytes:
    """A film, uint8 [F, H, W, 3], as an animated GIF in the colours of the road and greys.

    Raises ImportError where there is no pillow.
    """
    from PIL import Image

    palette = Image.new("P", (1, 1))
    palette.putpalette(list(itertools.chain(*COLOURS, *((grey,) * 3 for grey in GREYS))))
    plain = Image.Dither.NONE
    first, *others = (Image.fromarray(x).quantize(palette=palette, dither=plain) for x in pictures)
    file = io.BytesIO()
    options = {"save_all": True, "append_images": others, "duration": 1000 // RATE, "loop": 0}
    first.save(file, "GIF", **options)
    return file.getvalue()
