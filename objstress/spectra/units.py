"""Constants of vibrational spectroscopy, each from `scipy.constants` by the formula beside it.

Inside, energies are in eV, lengths in Angstrom, masses in u, times in fs, dipoles in e Angstrom,
polarizabilities in Angstrom^3 (alpha / 4 pi eps0); a normal coordinate Q is in Angstrom u^1/2.
"""

from __future__ import annotations

import math

from scipy import constants as si

U = si.physical_constants["atomic mass constant"][0]
"""One u, kg."""

LIGHT = si.c * 1e2 * 1e-15
"""c, cm/fs."""

ENERGY = si.e / (U * 1e-20 / 1e-30)
"""One eV in u Angstrom^2/fs^2: 9.6485e-3."""

BOLTZMANN = si.k / si.e
"""k, eV/K."""

KELVIN = si.h * si.c * 1e2 / si.k
"""hc/k, the temperature of one wavenumber: 1.43878 K cm."""

QUANTUM = si.h * si.c * 1e2 / si.e
"""hc, the energy of one wavenumber, eV cm."""

WAVENUMBER = math.sqrt(si.e / (U * 1e-20)) / (2 * math.pi * si.c * 1e2)
"""Wavenumber nu = omega/(2 pi c) of a mode with omega^2 = 1 eV/(Angstrom^2 u): 521.47 cm^-1."""

INFRARED = si.N_A * si.e**2 / (12 * si.epsilon_0 * si.c**2 * U) * 1e-3
r"""Intensity of a mode with (dmu/dQ)^2 = 1 e^2/u: 974.88 km/mol, 42.256 per (Debye/Angstrom)^2/u.

A molecule in all orientations absorbs from |0> to |1> with the cross section

    integral of sigma dnu = 1/(2 pi c) pi omega |<1|mu|0>|^2 / (3 eps0 hbar c)

by the golden rule; hot molecules absorb v + 1 times as much and emit v times as much, so that it
holds at any temperature. With <1|Q|0>^2 = hbar/(2 omega) the frequency drops out:

    A = N_A integral of sigma dnu = N_A (dmu/dQ)^2 / (12 eps0 c^2)
      = N_A pi/(3 c^2) (dmu/dQ)^2 / (4 pi eps0),

a napierian area in m/mol. Wilson, Decius and Cross, Molecular Vibrations (1955), chapter 7;
Porezag and Pederson, PRB 54 (1996) 7830 (42.255 by the constants of their day).
"""

DECADIC = 100 / math.log(10)
"""A napierian km/mol for each cm^-1 as decadic molar absorption coefficient: 43.43 L/(mol cm).

1 km/mol cm = 1e5 cm^2/mol = 1e2 L/(mol cm), absorbance ln(10) times less than the exponent.
"""

ABSORPTION = 1e5 / si.N_A * 1e24
"""A napierian km/mol for each cm^-1 in one Angstrom^3, as absorption coefficient: 1.66e5/cm."""

SCATTERING = (
    (2 * math.pi) ** 4 * si.h / (8 * math.pi**2 * si.c * 1e2) / (45 * U) * 1e8 * 1e-40 * 1e34
)
r"""Raman cross section of S = 1 Angstrom^4/u for nu_0 - nu = nu = 1 cm^-1, 1e-30 cm^2/sr.

An induced dipole alpha E radiates (omega_s/c)^4 |alpha|^2 into a steradian for each unit of the
light's intensity, alpha as a volume. With <v+1|Q|v>^2 averaged over a thermal oscillator,
hbar/(2 omega) / (1 - exp(-h c nu/kT)), and the mean over all orientations
(45 a'^2 + 7 g'^2)/45 (light polarised across the plane of scattering, seen at 90 degrees in both
polarisations),

    dsigma/dOmega = (2 pi)^4 (nu_0 - nu)^4 h/(8 pi^2 c nu) / (1 - exp(-h c nu/kT)) S/45.

This is power for power; counted photons go with nu_0 (nu_0 - nu)^3. Long, The Raman Effect (2002),
chapter 5; Porezag and Pederson (1996).
"""
# (1/cm)^4 is 1e8/m^4, Angstrom^4 is 1e-40 m^4, m^2 is 1e34 of 1e-30 cm^2.
