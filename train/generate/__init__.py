"""Texts written by a trained model, token by token."""
