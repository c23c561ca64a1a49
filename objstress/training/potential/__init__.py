"""Fits of potentials: settings, frames, the Lightning module, errors."""
