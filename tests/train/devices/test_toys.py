"""Families that keep state beside their weights, and have players, on a mesh."""

import pytest

from tests.train import toys
from tests.train.devices.meshes import train_on


@pytest.mark.parametrize("family", [("pair", "duel"), ("noisy", "denoise")])
def test_a_mesh_changes_no_number_of_any_family(family, monkeypatch):
    for package, path in toys.paths().items():
        monkeypatch.setattr(package, "__path__", path)
    one, eight = train_on(toys.config(*family), {}, {"mesh": {"data": 2, "fsdp": 4}})
    assert one["losses"] != pytest.approx([one["losses"][0]] * 10, rel=1e-3)
    assert eight["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert eight["metrics"] == pytest.approx(one["metrics"], rel=1e-3)
