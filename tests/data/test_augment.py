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


SPEECH = np.arange(1, 601, dtype=np.float32).reshape(60, 10)


def test_masks_are_spans_of_bands_and_of_frames():
    widths = []
    for seed in range(200):
        silent = augment.masked(np.random.default_rng(seed), SPEECH, 1) == 0
        bands, frames = silent.all(axis=0), silent.all(axis=1)
        np.testing.assert_array_equal(silent, bands[None, :] | frames[:, None])
        for span in (bands, frames):
            assert np.abs(np.diff(span, prepend=False, append=False)).sum() in (0, 2)
        widths.append((bands.sum(), frames.sum()))
    assert {tuple(sorted(set(found))) for found in zip(*widths)} == {(0, 1, 2), tuple(range(7))}
    assert (SPEECH > 0).all(), "the recording itself stays"


def test_a_pace_stretches_what_is_linear_to_what_is_linear():
    lengths, steps = set(), set()
    for seed in range(100):
        found = augment.paced(np.random.default_rng(seed), SPEECH, 0.5, range(45, 81))
        lengths.add(len(found))
        # Before the last frame and the last band, beyond which there is nothing.
        step = np.diff(found[: len(found) * 9 // 10], axis=0)
        np.testing.assert_allclose(step, 10 * 60 / len(found), rtol=1e-3)
        steps.add(round(float(np.diff(found[0, :6])[0]), 2))
    assert min(lengths) == 45
    assert max(lengths) == 80
    assert 1 / 1.5 <= min(steps) < 0.75 < 1.35 < max(steps) <= 1.5
    same = augment.paced(np.random.default_rng(0), SPEECH, 0.0, range(1, 100))
    np.testing.assert_allclose(same, SPEECH)
