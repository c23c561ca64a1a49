"""Displacements, loads and contacts."""
