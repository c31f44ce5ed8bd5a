"""How to spend a training budget: N*, D*, the loss, and what it costs to be wrong."""
