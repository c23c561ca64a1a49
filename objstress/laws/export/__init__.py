"""Polynomial laws as source code of other programs: C99, an Abaqus UMAT, an MFront behaviour."""
