"""The runs of a plan, trained side by side, here or on a cluster."""

HANG_MINUTES = 60.0  # without a sign of life, after which a worker is killed
