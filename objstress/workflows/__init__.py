"""The demonstration: silicon from its structure file to a simulation, each claim measured."""
