"""Simulations described in YAML."""
