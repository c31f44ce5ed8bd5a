"""crossed on InstEval."""

from ml_collections import ConfigDict

from configs import base

PASSES = 20
ALL = 66_252
MOST = 64_000
BIASES, VECTORS = 10.0, 100.0  # ridges


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and ratings."""
    return base.run(recipe, dials, 4, 1.3e6)


def recipe(width: int, ratings: float) -> ConfigDict:
    config = base.get_config()
    unique = max(1, round(ratings / PASSES))
    known = min(unique, ALL)
    config.data = {
        "name": "ratings",
        "source": "insteval",
        "evaluation": "test",
        "eval_rows": 0,
        "unique": unique if unique < MOST else 0,
        "contexts": ("studage", "lectage", "service", "dept"),
    }
    config.model = {
        "name": "crossed",
        "user_rows": 0,  # as many as the data have
        "item_rows": 0,
        "context_rows": 0,
        "contexts": 0,
        "width": width,
        "layers": 2,
        "hidden": 8 * width,
        "bias_penalty": BIASES / known,
        "vector_penalty": VECTORS / known,
    }
    config.task = {"name": "regression"}
    config.batch_size = 512
    config.log_every = max(1, round(ratings / config.batch_size / 200))
    config.checkpoint.every = 0
    config.evaluation.batch_size = 4096
    config.optimizer.update(learning_rate=0.01, weight_decay=0.0, b2=0.99, clip_norm=0.0)
    return config
