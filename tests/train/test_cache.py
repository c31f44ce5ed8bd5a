"""The compilation cache is a convenience."""

import os

import jax
import pytest

from train import cache


@pytest.fixture
def use_cache(monkeypatch):
    """Turns the cache on as a new process does; the one of the tests comes back afterwards."""
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setattr(jax.config, "update", lambda name, value: chosen.update({name: value}))
    chosen: dict = {}

    def use() -> str | None:
        chosen.clear()
        cache.use_cache.__wrapped__()
        return chosen.get("jax_compilation_cache_dir")

    yield use
    assert jax.config.jax_compilation_cache_dir == before


def test_a_tilde_is_the_home_folder(use_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALLOMETRY_CACHE", "~/mine")
    assert use_cache() == str(tmp_path / "mine" / "xla")


def test_several_devices_of_a_cpu_compile_anew(use_cache, monkeypatch):
    assert use_cache()
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2 --xla_dump_to=x")
    assert use_cache() is None


def test_without_a_folder_all_goes_on_with_a_warning(use_cache, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALLOMETRY_CACHE", str(tmp_path / "file"))
    assert use_cache() is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "warning: no compilation cache in $ALLOMETRY_CACHE: [Errno 20] Not a directory"
    )


def test_without_a_home_all_goes_on_with_a_warning(use_cache, monkeypatch, capsys):
    def no_home(path):
        return path

    monkeypatch.delenv("ALLOMETRY_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", no_home)
    assert use_cache() is None
    assert "Could not determine home directory" in capsys.readouterr().err
