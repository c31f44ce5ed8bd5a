"""The runs of a plan, trained side by side, here or on a cluster."""

# Without a sign of life. Longer than any compilation, evaluation or save: what is silent for so
# long will not come back.
HANG_MINUTES = 60.0
