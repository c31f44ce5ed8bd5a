"""NanoDO's decoder (github.com/google-deepmind/nanodo), which must be importable, trained by optax.

Its own model file: learned positions and LayerNorm, no rotary positions and no QK-norm. Not its own
trainer, which reads data by itself.
"""

from nanodo import model

from benchmarks.peers import by_flax, timing


def main() -> None:
    """Serves."""
    a = timing.asked()
    shape = {"D": a["width"], "H": a["heads"], "L": a["length"], "N": a["layers"]}
    shape |= {"V": a["vocab"], "F": 4 * a["width"]}
    by_flax.serve(model.TransformerDo(model.DoConfig(**shape, fsdp_enabled=False)), a)


if __name__ == "__main__":
    main()
