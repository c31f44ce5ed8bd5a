"""Families that keep state beside their weights, and have players, on a mesh."""

import numpy as np
import pytest

from tests.train import toys
from tests.train.devices.meshes import train_on
from train import before


@pytest.mark.parametrize("family", [("pair", "duel"), ("noisy", "denoise")])
def test_a_mesh_changes_no_number_of_any_family(family, monkeypatch):
    for package, path in toys.paths().items():
        monkeypatch.setattr(package, "__path__", path)
    base = toys.config(*family, evals=toys.further(few={"task": {"name": family[1]}}))
    one, eight = train_on(base, {}, {"mesh": {"data": 2, "fsdp": 4}})
    assert one["losses"] != pytest.approx([one["losses"][0]] * 10, rel=1e-3)
    assert eight["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert eight["metrics"] == pytest.approx(one["metrics"], rel=1e-3)
    for name in ("", "few"):
        loss, error = one["evaluated"][name]["loss"]
        assert eight["evaluated"][name]["loss"] == pytest.approx([loss, error], rel=1e-3)
    assert one["evaluated"]["few"]["loss"] != one["evaluated"][""]["loss"]


def test_what_is_kept_of_a_row_is_in_the_order_of_the_data(tiny, monkeypatch):
    for package, path in toys.paths().items():
        monkeypatch.setattr(package, "__path__", path)
    small = {"task.name": "echo", "model.layers": 1, "data.eval_tokens": 512}
    base = tiny(**small)
    changes = {}, {"mesh": {"data": 2, "context": 2}}
    one, four = (result["kept"] for result in train_on(base, *changes, devices=4))
    tokens = before.open_data(base).eval_batch(0, 16)["tokens"]
    np.testing.assert_array_equal(four["tokens"], tokens)
    np.testing.assert_allclose(four["surprise"], one["surprise"], rtol=1e-3)
