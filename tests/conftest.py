"""Settings of all tests: CPU, strict shapes, caches in the checkout; and a tiny run to try."""

import os
import shutil
import signal
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Started under nohup, all that tests start would ignore it too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.environ["JAX_PLATFORMS"] = "cpu"
# Most of what tests do is compiling programs that run a few times: LLVM's optimiser has little to
# do, and in training none, see `pytest_runtest_setup`. Nor are there cores to compile parts on.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of processes that tests start, too
XLA_FLAGS = " --xla_backend_optimization_level=1 --xla_cpu_parallel_codegen_split_count=1"
if metadata.version("jax").startswith("0.10."):  # later ones compile fast and have no such flag
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + XLA_FLAGS
CACHE = ROOT / ".pytest_cache"
os.environ.setdefault("ALLOMETRY_CACHE", str(CACHE / "allometry"))
# Tests start dozens of Pythons: where nobody keeps JAX's bytecode, each takes 2 s to make it anew.
sys.dont_write_bytecode, sys.pycache_prefix = False, str(CACHE / "bytecode")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

import jax  # noqa: E402
import pytest  # noqa: E402

from configs import gpt  # noqa: E402
from train import cache  # noqa: E402
from train.config import RunConfig, resolve  # noqa: E402

cache.use_cache()
# An array that grows an axis by accident is a bug that no loss curve shows.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def tiny():
    """Makes a gpt run of seconds; `tiny(**{"model.layers": 1})` changes fields."""

    def make(**changes) -> RunConfig:
        config = gpt.recipe(16, 1e4)
        config.steps = 40
        config.log_every = 1
        config.batch_size = 4
        config.data.sequence_length = 32
        config.data.eval_tokens = 2048
        config.evaluation.batch_size = 16
        config.checkpoint.every = 7
        config.update_from_flattened_dict(changes)
        return resolve(config.to_dict())

    return make


@pytest.fixture
def browser_page():
    """A page of a headless browser; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    off = "background-networking component-update sync extensions"
    options = ["--no-sandbox", "--disable-gpu", *(f"--disable-{name}" for name in off.split())]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A law is fitted hundreds of times by one program, without optimisation in twice the time;
    but in tests of the laws themselves once or twice."""
    parts = item.path.relative_to(ROOT).parts
    fits = "scaling" in parts and "laws" not in parts
    jax.config.update("jax_disable_most_optimizations", not fits)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs before their parts: what takes longest begins first, so no worker ends alone."""
    items.sort(key=lambda item: item.path, reverse=True)
