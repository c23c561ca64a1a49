"""A polynomial law as a finite-strain behaviour of MFront."""

from __future__ import annotations

from string import Template

from objstress.laws.export.c99 import comment, expansion
from objstress.laws.export.kernel import Kernel

_BEHAVIOUR = Template("""\
$comment
@DSL DefaultFiniteStrain;
@Behaviour $behaviour;
@Description {
  "Hyperelastic crystal: energy, stresses and tangents in GPa."
}

// The axes of orthotropy are those of the crystal; the solver turns F into them.
@OrthotropicBehaviour;
@ModellingHypotheses {"Tridimensional", "PlaneStrain", "GeneralisedPlaneStrain"};

@LocalVariable real law_energy;
@LocalVariable StressStensor law_stress;
@LocalVariable StiffnessTensor law_stiffness;

@Private {
$expansion
}

@Integrator {
  if (!(det(F1) > 0)) {
    return FAILURE;
  }
  // Components xx yy zz xy xz yz with factors sqrt(2) on shears, from xx yy zz yz xz xy without.
  const int place[6] = {0, 1, 2, 5, 4, 3};
  const double root = 1.4142135623730950488;
  const auto egl = computeGreenLagrangeTensor(F1);
  double eta[6] = {0, 0, 0, 0, 0, 0};
  double w, s[6], c[6][6];
  for (unsigned short i = 0; i < StensorSize; ++i) {
    eta[place[i]] = i < 3 ? egl[i] : root * egl[i];
  }
  ${name}_expand(eta, &w, s, c);
  law_energy = w;
  for (unsigned short i = 0; i < StensorSize; ++i) {
    const double fi = i < 3 ? 1 : root;
    law_stress[i] = fi * s[place[i]];
    for (unsigned short j = 0; j < StensorSize; ++j) {
      law_stiffness(i, j) = fi * (j < 3 ? 1 : root) * c[place[i]][place[j]];
    }
  }
  sig = convertSecondPiolaKirchhoffStressToCauchyStress(law_stress, F1);
}

@TangentOperator<DS_DEGL> {
  static_cast<void>(smt);
  Dt = law_stiffness;
}

@InternalEnergy {
  Psi_s = law_energy;
}
""")


def behaviour(name: str, kernel: Kernel, lines: list[str]) -> str:
    """The .mfront file.

    Args:
        name: of the behaviour, which begins with a capital letter, as no word of C++ does.
        kernel: the law.
        lines: what to say of it at the head.
    """
    return _BEHAVIOUR.substitute(
        comment=comment(lines),
        behaviour=name[0].upper() + name[1:],
        name=name,
        expansion=expansion(name, kernel).rstrip(),
    )
