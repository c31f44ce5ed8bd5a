"""Defaults cannot drift unseen: the digest of every config, complete as a run sees it.

A digest that changed on purpose is copied from the failure's message, and LOG.md says why.
"""

import hashlib
import importlib
import json

import pytest

from tests.conftest import ROOT
from train import config as configuration

EXPERIMENTS = {
    "gpt": "44d3e4b73947f110",
    "gpt_large": "e89205c40a6525ee",
    "linear": "e0b1873757a39dd1",
    "moe": "5a79af6a274aaae8",
}
STUDIES = {
    "demo": "e793271d6d0e47b8",
    "gpt_large": "6ccdeb05e8003078",
    "linear": "19aa4f076c7f9cc5",
}


def digest(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def test_every_config_is_here():
    found = {p.stem for p in (ROOT / "configs").glob("*.py")} - {"base", "__init__"}
    assert found == set(EXPERIMENTS)
    assert {p.stem for p in (ROOT / "configs/studies").glob("*.py")} - {"__init__"} == set(STUDIES)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    resolved = configuration.to_dict(configuration.resolve(config.to_dict()))
    assert digest(resolved) == EXPERIMENTS[name]


@pytest.mark.parametrize("name", STUDIES)
def test_study(name):
    config = importlib.import_module(f"configs.studies.{name}").get_config()
    assert digest(config.to_dict()) == STUDIES[name]
