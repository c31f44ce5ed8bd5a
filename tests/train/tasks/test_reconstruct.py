import jax.numpy as jnp
import numpy as np
import pytest

from train.tasks import reconstruct

IMAGES = np.random.default_rng(0).random((3, 4, 4, 3)).astype(np.float32)
BATCH = {"image": IMAGES, "weight": np.array([1, 1, 0], np.float32)}
CODES = np.array([[[0, 1]], [[0, 2]], [[9, 9]]])


def model(batch):
    return batch["image"] + jnp.array([0.1, 0.3, 5.0]).reshape(3, 1, 1, 1), CODES


def test_error_is_of_a_pixel_and_decibels_are_of_all():
    found = reconstruct.losses(reconstruct.Config(), model, BATCH, None)
    np.testing.assert_allclose(found.sums["loss"], [0.01, 0.09, 0], rtol=1e-4)
    assert found.units.tolist() == [1, 1, 0]
    derived = reconstruct.derived(reconstruct.Config(), {"loss": 0.05}, {})
    assert derived["psnr"] == pytest.approx(20 * np.log10(1 / np.sqrt(0.05)))
    assert reconstruct.derived(reconstruct.Config(), {"loss": 0.0}, {})["psnr"] == 100


def test_codes_are_counted():
    kept = reconstruct.examine(reconstruct.Config(), model, BATCH, None)
    rows = {"code": kept["code"][:2]}
    found = reconstruct.summarise(reconstruct.Config(), rows, {})
    assert found["codes_used"] == 3
    assert found["code_nats"] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(4))
