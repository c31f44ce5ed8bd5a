import numpy as np
import pytest

from data import augment

IMAGE = np.arange(5 * 7 * 2, dtype=np.float32).reshape(5, 7, 2)


def drawn(function, *size, count=400):
    return [function(np.random.default_rng(seed), IMAGE, *size) for seed in range(count)]


def test_half_of_the_images_are_mirrored():
    results = drawn(augment.flip)
    mirrored = [np.array_equal(image, IMAGE[:, ::-1]) for image in results]
    assert all(same or np.array_equal(image, IMAGE) for same, image in zip(mirrored, results))
    assert 160 < sum(mirrored) < 240


def test_a_crop_is_a_window_of_the_reflected_image():
    padded = np.pad(IMAGE, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    windows = [padded[top : top + 5, left : left + 7] for top in range(5) for left in range(5)]
    counts = np.zeros(25, int)
    for image in drawn(augment.crop, 2, count=1000):
        (place,) = [i for i, window in enumerate(windows) if np.array_equal(window, image)]
        counts[place] += 1
    # Chi-square with 24 degrees of freedom, 99.99% point 57.
    assert ((counts - 40) ** 2 / 40).sum() < 57


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_cutout_is_a_square_around_any_place(side):
    blanks = set()
    for image in drawn(augment.cutout, side):
        changed = (image != IMAGE).any(axis=-1)
        assert (image[changed] == 0).all()
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert changed.sum() >= len(rows) * len(columns) - 1  # one pixel of IMAGE is 0 itself
        assert len(rows) <= side
        assert len(columns) <= side
        blanks.add(changed.tobytes())
    assert len(blanks) == 35  # centres
    assert IMAGE.ravel()[-1] == 69  # the image itself is as it was


def test_shares_have_the_distribution_of_beta():
    for alpha in (0.2, 1.0, 4.0):
        shares = np.array([augment.share(np.random.default_rng(i), alpha) for i in range(2000)])
        assert shares.dtype == np.float32
        assert shares.mean() == pytest.approx(0.5, abs=0.04)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)
