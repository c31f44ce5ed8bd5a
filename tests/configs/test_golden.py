"""Defaults cannot drift unseen: every config, complete as a run sees it, lies in `golden/` as text.

A value that changed on purpose is written there by hand, or all of them by
`python -m tests.configs.test_golden`, and LOG.md says why.
"""

import hashlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from train import config as configuration

GOLDEN = Path(__file__).parent / "golden"
EXPERIMENTS = (
    "bert",
    "bert_classifier",
    "bert_texts",
    "cnn",
    "crossed",
    "ctc",
    "ctc_conformer",
    "ctc_prompts",
    "detector",
    "detector_traffic",
    "driver",
    "embedder",
    "factorization",
    "gan",
    "gpt",
    "gpt_large",
    "linear",
    "lstm",
    "lstm_classifier",
    "moe",
    "pilot",
    "resnet",
    "seq2seq",
    "seq2seq_depths",
    "summary",
    "text2image",
    "text2image_clothes",
    "tokenizer",
    "two_tower",
    "two_tower_debian",
    "vit",
    "wavenet",
)
STUDIES = (
    "bert",
    "cnn",
    "crossed",
    "ctc",
    "ctc_conformer",
    "demo",
    "detector",
    "driver",
    "embedder",
    "factorization",
    "gan",
    "gpt_large",
    "linear",
    "lstm",
    "lstm_classifier",
    "resnet",
    "seq2seq",
    "seq2seq_depths",
    "summary",
    "text2image",
    "tokenizer",
    "two_tower",
    "two_tower_debian",
    "vit",
    "wavenet",
)
CONFIGS = (*EXPERIMENTS, *(f"studies.{name}" for name in STUDIES))


def values(name: str) -> dict[str, Any]:
    """A run's config as it is resolved, a study's as its file gives it."""
    given = importlib.import_module(f"configs.{name}").get_config().to_dict()
    if name.startswith("studies."):
        return given
    return configuration.to_dict(configuration.resolve(given))


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Lines "a.b: value" of nested dicts; a list is one value."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from leaves(value[key], f"{path}.{key}" if path else str(key))
    else:
        yield f"{path}: {json.dumps(value)}"


def text(name: str) -> list[str]:
    """All lines of a golden file; the first one is the digest of the whole."""
    given = values(name)
    sha256 = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
    return [f"sha256 {sha256}", *leaves(given)]


def file(name: str) -> Path:
    return GOLDEN / f"{name}.txt"


def test_every_config_is_here():
    found = {p.stem for p in (ROOT / "configs").glob("*.py")} - {"base", "finetune", "__init__"}
    found |= {f"studies.{p.stem}" for p in (ROOT / "configs/studies").glob("*.py")}
    assert found - {"studies.__init__"} == set(CONFIGS) == {path.stem for path in GOLDEN.iterdir()}


@pytest.mark.parametrize("name", CONFIGS)
def test_config(name):
    assert text(name) == file(name).read_text().splitlines()


if __name__ == "__main__":
    for name in CONFIGS:
        file(name).write_text("\n".join(text(name)) + "\n")
