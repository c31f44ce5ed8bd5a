"""The simulated road (data.sources.road) from above: what a camera would see, and where cars are.

Car 0 drives to the right and stays where it is in the picture; the leftmost lane is on top. Lanes
are stretched: a picture is as high as the road and as wide as it is said to be. Every pixel has the
share of it that a car covers, so that a car between two pixels can be told from one on either.

Shape letters: K cars, H height, W width; in front of them any others.
"""

from typing import NamedTuple

import numpy as np

from data.sources import road

CAR_WIDTH = 0.5  # lanes


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
