import io

import numpy as np
import pytest

from train import png


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_a_png_file(channels):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    with image.open(io.BytesIO(png.content(pixels))) as file:
        file.load()
        assert file.format == "PNG"
        np.testing.assert_array_equal(np.asarray(file).reshape(pixels.shape), pixels)
