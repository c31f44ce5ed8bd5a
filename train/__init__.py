"""ONE RUN: config -> state -> jitted step on a mesh -> checkpoints, metrics, a record."""
