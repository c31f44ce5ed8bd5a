"""Another run's config, begun with its weights: to train on, with other data or another rate.

python -m train --config=configs/finetune.py:runs/first --workdir=runs/second \\
    --config.data.source=folder:texts --config.optimizer.learning_rate=1e-4

What stands behind the file's name is that run's folder.
"""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs import base


def get_config(run: str = "") -> ConfigDict:
    """The config of the run in a folder; it starts with that run's newest checkpoint."""
    if not run:
        raise base.BadDial("--config: give a run's folder, e.g. configs/finetune.py:runs/first")
    path = Path(run).expanduser() / "config.json"
    try:
        content = json.loads(path.read_text())
        values = _tuples(content.get("config", content))
    except OSError as error:
        raise base.BadDial(f"--config: {path}: {error.strerror}; no run is there") from None
    except (ValueError, AttributeError, RecursionError):
        raise base.BadDial(f"--config: {path}: not the config of a run") from None
    take = ("params/*", "extra/*")
    return ConfigDict(values | {"start": {"run": run, "step": 0, "take": take, "rename": ()}})


def _tuples(value: Any) -> Any:
    """JSON has lists where a config has tuples."""
    if isinstance(value, dict):
        return {name: _tuples(part) for name, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
