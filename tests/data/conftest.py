import numpy as np
import pytest

from data.sources.cleaning import NOTHING

TEXT = {
    "source": "embedded",
    "tokenizer": "bytes",
    "sequence_length": 64,
    "eval_tokens": 0,
    "cleaning": NOTHING,
}
SPECTRUM = {
    "source": "spectrum",
    "features": 96,
    "eval_examples": 50,
    "spectrum": 1.0,
    "teacher": 0.8,
    "noise": 0.1,
    "target": "",
}

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "theta", "iota", "kappa", "lambda"]


def write_folder(folder, count=60, length=200):
    """Text files of random words, told apart by their first; returns their contents."""
    random = np.random.default_rng(0)
    texts = []
    for number in range(count):
        texts.append(f"file {number}: " + " ".join(random.choice(WORDS, length)) + " é")
        path = folder / f"part{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[-1], encoding="utf-8")
    return texts


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "texts"


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shared_cache(session_cache, monkeypatch):
    """A cache folder that the tests share, so that the corpus is encoded once."""
    monkeypatch.setenv("ALLOMETRY_CACHE", str(session_cache))
    return session_cache


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder of this test alone, which does not exist yet."""
    monkeypatch.setenv("ALLOMETRY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def text_options():
    return dict(TEXT)


@pytest.fixture
def spectrum_options():
    return dict(SPECTRUM)
