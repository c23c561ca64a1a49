"""Laws at quadrature points, inside forms, and grains."""
