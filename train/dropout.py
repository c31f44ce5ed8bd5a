"""Dropout by row: what an example loses does not depend on how its batch is split."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax


def by_row(rows_B: jax.Array) -> Callable[..., Any]:
    """For `nn.intercept_methods`: every `nn.Dropout` of a model, whosever it is, draws by row.

    One mask for all rows depends on how many there are, so that the parts of an accumulated batch
    would lose other numbers than the same rows do in a whole one.

    Args:
      rows_B: the number in the whole batch of each row on the first axis.
    """

    def intercept(apply, args, kwargs, context) -> Any:
        module = context.module
        if not isinstance(module, nn.Dropout) or module.rate == 0.0:
            return apply(*args, **kwargs)
        key = module.make_rng(module.rng_collection)
        keys_B = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows_B)
        x, *others = args
        return jax.vmap(lambda x, key: apply(x, *others, **kwargs | {"rng": key}))(x, keys_B)

    return intercept
