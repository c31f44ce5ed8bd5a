"""Augmentation of images: pure functions of a row's generator (data.order.rngs) and its image.

An image is float32 [H, W, C], in standard deviations from the training mean.
"""

import numpy as np


def flip(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The image, or its mirror image, left for right."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def crop(rng: np.random.Generator, image: np.ndarray, pixels: int) -> np.ndarray:
    """A window of the image's size, moved by up to `pixels` each way; edges are reflected.

    After Zagoruyko and Komodakis 2016, "Wide residual networks", section 3: no edge of a padding's
    colour arises. `pixels` is less than either side.
    """
    # 1 before the first is the second, 1 after the last the last but one.
    rows, columns = (
        (side - 1) - np.abs((side - 1) - np.abs(np.arange(side) + move))
        for side, move in zip(image.shape, rng.integers(-pixels, pixels + 1, 2))
    )
    return image[rows[:, None], columns]


def cutout(rng: np.random.Generator, image: np.ndarray, side: int) -> np.ndarray:
    """The image with a square of the mean at any place, parts of which may lie outside.

    DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout":
    the centre is uniform over the image.
    """
    height, width, _ = image.shape
    top, left = rng.integers(0, (height, width)) - side // 2
    image = image.copy()
    image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return image


def tint(rng: np.random.Generator, image: np.ndarray, strength: float) -> np.ndarray:
    """The image with other colours: each channel is stretched by a factor of up to 1 + strength or
    down to its inverse, and moved by up to `strength` standard deviations."""
    channels = image.shape[-1]
    gain = (1 + strength) ** rng.uniform(-1, 1, channels)
    return (image * gain + rng.uniform(-strength, strength, channels)).astype(np.float32)


def share(rng: np.random.Generator, alpha: float) -> np.float32:
    """How much of an image stays where it is mixed with another: Beta(alpha, alpha).

    Zhang et al. 2018, "mixup: beyond empirical risk minimization", equation 1; each row has its own
    share, not all of a batch one.
    """
    return np.float32(rng.beta(alpha, alpha))
