"""Laws in forms and solvers of other packages."""
