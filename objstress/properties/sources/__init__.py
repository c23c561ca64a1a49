"""Sources of elastic constants: one class for each kind of model, all with `stiffness()`."""
