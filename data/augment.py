"""Augmentation of images and recordings: pure functions of a row's generator (data.order.rngs).

An image is float32 [H, W, C], in standard deviations from the training mean; a recording [F, M],
bands of pitch of each frame, in standard deviations from the recording's mean.
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


def masked(rng: np.random.Generator, speech: np.ndarray, masks: int) -> np.ndarray:
    """The recording with the mean in so many spans of bands, and in as many of frames.

    Park et al. 2019, "SpecAugment", section 2: a span has any width up to its most, here a fifth of
    the bands and a tenth of the frames, and lies anywhere.
    """
    speech = speech.copy()
    for along, share in ((speech.T, 0.2), (speech, 0.1)):
        for _ in range(masks):
            width = rng.integers(round(share * len(along)) + 1)
            start = rng.integers(len(along) - width + 1)
            along[start : start + width] = 0
    return speech


def paced(rng: np.random.Generator, speech: np.ndarray, change: float, size: range) -> np.ndarray:
    """The recording up to 1 + change times as long or short, its pitch moved as much on its own.

    Of features, between neighbours, what Ko et al. 2015 ("Audio augmentation for speech
    recognition") do to samples. The number of frames stays in `size`.
    """
    length, pitch = (1 + change) ** rng.uniform(-1, 1, 2)
    frames = int(np.clip(round(len(speech) * length), size.start, size.stop - 1))
    speech = _between(speech, np.arange(frames) * (len(speech) / frames))
    return _between(speech.T, np.arange(speech.shape[1]) * pitch).T.astype(np.float32)


def _between(lines: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Lines at places that need not be whole, on a straight way from one to the next."""
    places = np.minimum(places, len(lines) - 1)
    low = places.astype(int)
    share = (places - low)[:, None]
    return lines[low] * (1 - share) + lines[np.minimum(low + 1, len(lines) - 1)] * share
