"""Layers that read one token after another.

Shape letters: B batch, L length, D width of the input, H of the state. Parameters are float32;
`dtype` is what matrix products are computed in; what a cell remembers stays in float32.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.placement import spread
from models.layers.transformer import RMSNorm, dense
from models.layers.weights import gathered, weight


@dataclasses.dataclass(frozen=True)
class Config:
    """What reads."""

    vocab_size: int  # V, must hold every token of the data; 0 in a config: as many as that has
    layers: int
    width: int  # D, of the embedding and of each layer's state
    dropout: float  # rate, on each residual branch
    dtype: str  # of activations and matrix products: "float32" | "bfloat16"

    def __post_init__(self):
        for field in ("vocab_size", "layers", "width"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 1")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype: {self.dtype!r}; allowed: float32, bfloat16")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout}; must be in [0, 1)")


GATES = ("input", "forget", "update", "output")


class State(NamedTuple):
    """What a layer remembers of the tokens so far; of all layers, arrays with an axis before."""

    cell_BxH: jax.Array  # float32
    hidden_BxH: jax.Array

    @classmethod
    def first(cls, shape: tuple[int, ...], dtype: jnp.dtype) -> "State":
        """Of no token."""
        return cls(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, dtype))


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) that forgets (Gers et al. 2000).

    [B, L, D] and what was remembered (None: nothing) -> [B, L, H] and what is then. It forgets
    little at first (bias 1, Jozefowicz et al. 2015). `nn.OptimizedLSTMCell` in `nn.RNN` computes
    the same; here the products with the input are made for all tokens at once, which is faster in
    small batches (benchmarks/results/families/lstm.md), and axes have names.
    """

    width: int  # H
    dtype: jnp.dtype
    reverse: bool = False  # from the last token to the first

    @nn.compact
    def __call__(
        self, x_BxLxD: jax.Array, state: State | None, keep_BxL: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """keep_BxL: bool, tokens that are read; what is remembered stays as it is at others."""
        (B, _, D), H = x_BxLxD.shape, self.width
        input_Dx4xH = self._matrix("input", D)
        recurrent_Hx4xH = self._matrix("recurrent", H)
        bias_4xH = weight(self, "bias", {}, self._gates(), init=_forgets_little)
        z_BxLx4xH = dense(x_BxLxD, input_Dx4xH).astype(jnp.float32) + bias_4xH[None, None]

        def read(state: State, token: tuple) -> tuple[State, jax.Array]:
            z_Bx4xH, keep_B = token
            hidden_BxH = spread(state.hidden_BxH, "batch", None)
            z_Bx4xH += jnp.tensordot(hidden_BxH, recurrent_Hx4xH, axes=1).astype(jnp.float32)
            z_Bx4xH = spread(z_Bx4xH, "batch", None, "hidden")
            i_BxH, f_BxH, u_BxH, o_BxH = (z_Bx4xH[:, gate] for gate in range(len(GATES)))
            cell_BxH = nn.sigmoid(f_BxH) * state.cell_BxH + nn.sigmoid(i_BxH) * jnp.tanh(u_BxH)
            hidden_BxH = (nn.sigmoid(o_BxH) * jnp.tanh(cell_BxH)).astype(self.dtype)
            new = State(cell_BxH, hidden_BxH)
            if keep_B is not None:
                new = jax.tree.map(lambda x, was: jnp.where(keep_B[:, None], x, was), new, state)
            return new, new.hidden_BxH

        state = State.first((B, H), self.dtype) if state is None else state
        tokens = jax.tree.map(lambda x: x.swapaxes(0, 1), (z_BxLx4xH, keep_BxL))
        state, y_LxBxH = jax.lax.scan(read, state, tokens, reverse=self.reverse)
        return spread(y_LxBxH.swapaxes(0, 1), "batch", None, None), state

    def _matrix(self, name: str, size: int) -> jax.Array:
        inputs, outputs = {"embed": size}, self._gates()
        w = weight(self, name, inputs, outputs)
        return gathered(w, (*inputs, *outputs), self.dtype)

    def _gates(self) -> dict[str, int]:
        return {"gates": len(GATES), "hidden": self.width}


def _forgets_little(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    forget = jnp.arange(len(GATES))[:, None] == GATES.index("forget")
    return jnp.broadcast_to(forget, shape).astype(dtype)


class Block(nn.Module):
    """Pre-norm residual block: x + lstm(norm(x)).

    Takes and returns, as `nn.scan` wants, a carry, and of each layer what it remembers (None:
    nothing yet).
    """

    dropout: float  # rate, on the residual branch
    dtype: jnp.dtype
    train: bool

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array, state: State | None, _=None) -> tuple[jax.Array, State]:
        norm = RMSNorm(self.dtype, name="norm")
        lstm = LSTM(x_BxLxD.shape[-1], self.dtype, name="lstm")
        y_BxLxD, state = lstm(norm(x_BxLxD), state)
        return x_BxLxD + nn.Dropout(self.dropout, deterministic=not self.train)(y_BxLxD), state
