"""Fits of laws: stress-free reference, polynomial, network, ensembles, adaptive labels."""
