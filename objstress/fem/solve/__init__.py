"""Equilibrium, motion and paths: body, Newton's method, stepping, records and checkpoints."""
