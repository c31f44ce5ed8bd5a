"""All runs on 8 devices, in one process: most of what a process of few runs does is to start."""

import pytest

from tests.train.devices.meshes import train_all


@pytest.fixture(scope="session")
def trained() -> dict[str, list[dict]]:
    """What the runs of each file do, by the file's name."""
    from tests.train.devices import test_experts, test_pipeline, test_sharding

    files = (test_sharding, test_experts, test_pipeline)
    results = train_all(*((file.run_config(), file.CHANGES) for file in files))
    return {file.__name__: found for file, found in zip(files, results)}
