"""Logits of what is exported, by transformers: where a Python has it and torch.

That is this one, or the one that $ALLOMETRY_TORCH names (python3 -m venv DIR, and
DIR/bin/pip install torch transformers).
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from models import gpt
from tests import verbs
from tests.train.export.cases import KINDS, begun, logits
from tests.train.export.test_huggingface import OTHERS
from train.export import huggingface

HERE = sys.executable if find_spec("torch") and find_spec("transformers") else ""
PYTHON = os.environ.get("ALLOMETRY_TORCH", HERE)
SCRIPT = Path(__file__).with_name("torch_logits.py")

pytestmark = pytest.mark.skipif(not PYTHON, reason="no torch and transformers; $ALLOMETRY_TORCH")


def test_transformers_gives_the_same_logits(tiny, tmp_path):
    tokens = np.random.default_rng(0).integers(0, 257, (3, 32), np.int32)
    np.save(tmp_path / "tokens.npy", tokens)
    ours = {}
    for kind, changes in KINDS.items():
        config = tiny(**{f"model.{name}": value for name, value in changes.items()})
        params = begun(tmp_path / f"run_{kind}", config)
        flags = [f"--workdir={tmp_path / f'run_{kind}'}", "--to=huggingface"]
        done = verbs.call("train.export", *flags, f"--out={tmp_path / kind}")
        assert done.returncode == 0, done.stderr
        ours[kind] = logits(config.model.config, params, tokens)
    done = subprocess.run(
        [PYTHON, str(SCRIPT), str(tmp_path), *KINDS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*KINDS]
    for kind, expected in ours.items():
        worst = np.abs(np.load(tmp_path / f"{kind}.npy") - expected).max()
        print(f"{kind}: {worst:.2g} of logits up to {np.abs(expected).max():.3g}")
        assert worst < 1e-4
    for name in ("made-llama", "made-qwen3"):  # by others, read here
        model, params, _ = huggingface.read(tmp_path / name)
        found = logits(gpt.Config(**model, **OTHERS), params, tokens)
        expected = np.load(tmp_path / f"{name}.npy")
        worst = np.abs(found - expected).max()
        print(f"{name}: {worst:.2g} of logits up to {np.abs(expected).max():.3g}")
        assert worst < 1e-4
