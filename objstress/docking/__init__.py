"""A small molecule finds its place in a protein."""
