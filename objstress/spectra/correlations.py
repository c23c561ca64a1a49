r"""IR and Raman spectra and the density of states from dynamics, by autocorrelation.

All of them are one spectral density. For X(t) of a classical system at temperature T

.. math::

    D(\nu) = \frac{2 c}{k T} \int_{-\infty}^{\infty}
    w(t) \langle X'(0) \cdot X'(t) \rangle \cos(2 \pi c \nu t)\, dt

with the rate X' of X and a window w, w(0) = 1. Its area over nu > 0 is <X'^2>/(kT), whatever the
window. A classical oscillator has <Q'^2> = kT, so that a band's area is (dX/dQ)^2, the quantity
behind the harmonic intensities, and the factors of `objstress.spectra.units` convert it to km/mol
or Angstrom^4/u. As a check, with mu for X this is the formula of linear response,

.. math::

    \alpha(\nu) n(\nu) = \frac{1}{6 \varepsilon_0 c V k T} \int_{-\infty}^{\infty}
    \langle M'(0) \cdot M'(t) \rangle e^{-2 \pi i c \nu t}\, dt,

with the harmonic quantum correction: Ramirez, Lopez-Ciudad, Kumar and Marx, J. Chem. Phys. 121
(2004) 3973; for Raman Thomas, Brehm, Fligg, Vohringer and Kirchner, PCCP 15 (2013) 6608.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft, signal

from objstress.errors import InputError
from objstress.spectra.curves import Curve
from objstress.spectra.raman import cross_section, part_weights, raman_facts, raman_units
from objstress.spectra.units import (
    ABSORPTION,
    BOLTZMANN,
    DECADIC,
    ENERGY,
    INFRARED,
    KELVIN,
    LIGHT,
)

LONGEST = 0.75
"""Longest part of a record that an autocorrelation uses: beyond it few pairs of times are left."""

WINDOWS = {"hann": 2.0, "blackman-harris": 2.72, "none": 1.21}
"""Window of the autocorrelation -> width of a sharp line in units of 1/(2 c t_max).

Harris, Proc. IEEE 66 (1978) 51, table 1 (6 dB: halves of the amplitude, as an autocorrelation is
transformed as it is). Blackman-Harris has no lobe above 3e-5, so that strong lines leave no wiggles
and no negative intensities beside them; for one width it needs 1.4 times Hann's t_max.
"""

CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "harmonic": np.ones_like,
    "none": lambda x: -np.expm1(-x) / np.where(x > 0, x, 1) + (x == 0),
    "standard": lambda x: 2 * np.tanh(x / 2) / np.where(x > 0, x, 2) + (x == 0),
    "schofield": lambda x: 2 * np.sinh(x / 2) / np.where(x > 0, x, 2) + (x == 0),
}
r"""Quantum correction factors Q, each divided by the harmonic one, of x = h c nu/(kT).

What light measures is nu (1 - exp(-x)) I_quantum(nu), I the transform of <X(0) X(t)>, of which
dynamics knows the classical one: I_quantum = Q I_classical.

    harmonic    x/(1 - exp(-x))      exact for oscillators with linear X: D(nu) needs no more
    none        1
    standard    2/(1 + exp(-x))
    schofield   exp(x/2)

Berens, White and Wilson, J. Chem. Phys. 75 (1981) 515; Ramirez et al. (2004), who find the
harmonic one best.
"""


@dataclass(frozen=True)
class Correlation:
    """Settings that make a spectrum of a record of dynamics.

    Attributes:
        time_step: between two records, fs.
        temperature: of the dynamics, K.
        resolution: width at half maximum of a sharp line, cm^-1; the longest time of the
            autocorrelation follows from it.
        window: of the autocorrelation, one of `WINDOWS`.
        quantum_correction: one of `CORRECTIONS`.
        verlet_step: time step of a velocity-Verlet run, fs, whose shift is undone (see
            `spectral_density`); None leaves it.
        highest: end of curves, cm^-1, at most 0.8 of the highest that the time step resolves.

    Raises:
        InputError: an unknown name, a number that is not positive.
    """

    time_step: float
    temperature: float
    resolution: float = 10.0
    window: str = "blackman-harris"
    quantum_correction: str = "harmonic"
    verlet_step: float | None = None
    highest: float = 4500.0

    def __post_init__(self) -> None:
        for name, unit in (
            ("time_step", "fs"),
            ("temperature", "K"),
            ("resolution", "cm^-1"),
            ("highest", "cm^-1"),
        ):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name} = {value}: give a positive number of {unit}")
        if self.window not in WINDOWS:
            raise InputError(f"window = {self.window!r}: give one of {', '.join(WINDOWS)}")
        if self.quantum_correction not in CORRECTIONS:
            raise InputError(
                f"quantum_correction = {self.quantum_correction!r}: give one of "
                f"{', '.join(CORRECTIONS)}"
            )
        h = self.verlet_step
        if h is not None and not 0 < h <= self.time_step * (1 + 1e-9):
            raise InputError(f"verlet_step = {h}: give fs, at most the time step of the records")

    @property
    def steps(self) -> int:
        """Number of records in the longest time of the autocorrelation, t_max."""
        width = WINDOWS[self.window] / (2 * LIGHT * self.resolution)
        return math.ceil(width / self.time_step)

    @property
    def end(self) -> float:
        """Highest wavenumber of curves, cm^-1."""
        return min(self.highest, 0.8 / (2 * LIGHT * self.time_step))


def infrared_from_dipoles(
    dipole: np.ndarray,
    settings: Correlation,
    *,
    volume: float | None = None,
    label: str = "dynamics",
) -> Curve:
    r"""IR spectrum of a recorded dipole: 974.88 km/mol for each e^2/u of D(nu) of mu.

    .. math:: \epsilon(\nu) = \frac{100}{\ln 10}\, 974.88\, D_\mu(\nu)

    For one molecule (no volume) this is the decadic molar absorption coefficient, L/(mol cm); band
    areas (`Curve.area`) are in km/mol and equal the harmonic ones for harmonic motion with kT in
    each mode: few atoms at constant energy need many replicas from a thermal ensemble. For a liquid
    or a crystal the values are alpha(nu) n(nu) in cm^-1, the napierian absorption coefficient times
    the refractive index: N_A sigma n/V.

    Args:
        dipole: (n, 3) or (replicas, n, 3) e Angstrom; in a periodic cell without jumps.
        settings: of the autocorrelation.
        volume: of a periodic cell, Angstrom^3.
        label: of the curve.

    Returns:
        The mean over replicas, with its standard error.

    Raises:
        InputError: a wrong shape, NaN, a record too short for the resolution.
    """
    series = _series("dipole", dipole, (3,))
    if volume is not None and not (volume > 0 and math.isfinite(volume)):
        raise InputError(f"volume = {volume}: give Angstrom^3, positive")
    x, density = _corrected(series, settings)
    if volume is None:
        scale, quantity, unit = DECADIC, "molar absorption coefficient", "L mol^-1 cm^-1"
        area_unit, area_factor = "km/mol", 1 / DECADIC
    else:
        scale, quantity, unit = ABSORPTION / volume, "absorption coefficient x index", "cm^-1"
        area_unit, area_factor = "cm^-2", 1.0
    return Curve(
        kind="infrared",
        quantity=quantity,
        unit=unit,
        label=label,
        area_unit=area_unit,
        area_factor=area_factor,
        **_mean(x, scale * INFRARED * density, settings, series),
    )


def raman_from_polarizabilities(
    polarizability: np.ndarray,
    settings: Correlation,
    *,
    part: str = "total",
    laser: float | None = None,
    label: str = "dynamics",
) -> Curve:
    r"""Raman spectrum of a recorded polarizability, from its isotropic and anisotropic parts.

    .. math::

        a = \tfrac{1}{3} \mathrm{tr}\, \alpha, \quad b = \alpha - a 1, \quad
        S(\nu) = 45 D_a(\nu) + 7 \cdot \tfrac{3}{2} D_b(\nu)

    in Angstrom^4/u for each cm^-1 (g^2 = 3/2 b : b); other parts have the weights of `PARTS`. With
    a laser the values are the differential cross section of all recorded atoms, `cross_section` of
    S(nu) in 1e-30 cm^2/sr for each cm^-1, from the width of a line upwards.

    Args:
        polarizability: (n, 3, 3) or (replicas, n, 3, 3) Angstrom^3.
        settings: of the autocorrelation.
        part: one of `PARTS`; "perpendicular" is the depolarised spectrum.
        laser: wavelength, nm.
        label: of the curve.

    Returns:
        The mean over replicas, with its standard error.

    Raises:
        InputError: as in `infrared_from_dipoles`; an unknown part, a laser whose quanta are
            smaller than the highest wavenumber.
    """
    weight_a, weight_g = part_weights(part)
    series = _series("polarizability", polarizability, (3, 3))
    mean = np.trace(series, axis1=2, axis2=3)[..., None] / 3
    rest = (series - mean[..., None] * np.eye(3)).reshape(*series.shape[:2], 9)
    parts = [math.sqrt(weight_a) * mean, math.sqrt(1.5 * weight_g) * rest]
    x, density = _corrected(np.concatenate(parts, axis=2), settings)
    if laser is not None:
        seen = (x >= settings.resolution) & (x <= settings.end)
        x = x[seen]
        density = cross_section(density[:, seen], x, laser, settings.temperature)
    mean_curve = _mean(x, density, settings, series)
    mean_curve["facts"] |= raman_facts(part, laser, settings.temperature)
    return Curve(kind="raman", label=label, **raman_units(laser), **mean_curve)


def density_of_states(
    velocities: np.ndarray,
    masses: np.ndarray,
    settings: Correlation,
    *,
    label: str = "dynamics",
) -> Curve:
    r"""Vibrational density of states: D(nu) of m^1/2 r, whose area counts degrees of freedom.

    .. math:: \int_0^\infty D(\nu)\, d\nu = \frac{1}{k T} \sum_i m_i \langle v_i^2 \rangle

    It is 2/kT times the kinetic energy at each frequency: 3 n in total at equilibrium; overall
    motions of a free molecule and diffusion appear near 0. There is no quantum correction.

    Args:
        velocities: (n, atoms, 3) or (replicas, n, atoms, 3) Angstrom/fs.
        masses: (atoms,) u.
        settings: of the autocorrelation.
        label: of the curve.

    Returns:
        The mean over replicas, with its standard error.

    Raises:
        InputError: as in `infrared_from_dipoles`; masses that do not fit.
    """
    masses = np.asarray(masses, dtype=np.float64)
    if masses.ndim != 1 or not (masses > 0).all():
        raise InputError("masses: give one for each atom, positive, in u")
    series = _series("velocities", velocities, (len(masses), 3))
    weighted = (series * np.sqrt(masses)[:, None]).reshape(*series.shape[:2], -1)
    x, density = spectral_density(weighted, settings, rates=True)
    return Curve(
        kind="density",
        quantity="density of states",
        unit="modes / cm^-1",
        label=label,
        area_unit="modes",
        **_mean(x, density, settings, series),
    )


def spectral_density(
    series: np.ndarray, settings: Correlation, rates: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    r"""Spectral density of each replica, without a quantum correction.

    .. math::

        D(\nu) = \frac{2 c}{k T} \int_{-\infty}^{\infty}
        w(t) \langle X'(0) \cdot X'(t) \rangle \cos(2 \pi c \nu t)\, dt

    Rates of X are differences of neighbours, whose transform is too small by sin(y)/y,
    y = pi c nu dt; this factor is divided out exactly. The autocorrelation is the mean over all
    pairs of times, by FFT with zeros appended to the record. It is cut at t_max = `settings.steps`
    and padded with zeros such that the spectrum has eight points per width.

    Velocity Verlet with the step h shifts an oscillator from nu to arcsin(pi c nu h)/(pi c h), 22
    cm^-1 too high at 3,900 cm^-1 with 0.5 fs. Given h, wavenumbers are shifted back and rates of X
    reduced accordingly, such that bands keep their areas where positions have the right amplitude,
    kT/omega^2 (Tikhonov, J. Chem. Phys. 144 (2016) 174108, for the shift).

    Args:
        series: (replicas, n, components) of X, or of X' with `rates`.
        settings: of the autocorrelation.
        rates: whether the series holds X'.

    Returns:
        Wavenumbers (m,) cm^-1 from 0 to the highest that the time step can show, and D
        (replicas, m) in (unit of X)^2/(Angstrom^2 u) for each cm^-1.

    Raises:
        InputError: a record whose `LONGEST` part is shorter than t_max.
    """
    dt, steps = settings.time_step, settings.steps
    x = series if rates else np.diff(series, axis=1) / dt
    n = x.shape[1]
    if steps > LONGEST * n:
        best = settings.resolution * steps / (LONGEST * n)
        raise InputError(
            f"a record of {n * dt:.0f} fs is too short for a resolution of "
            f"{settings.resolution:g} cm^-1: allow {math.ceil(best)}, or record for longer"
        )
    padded = fft.next_fast_len(n + steps + 1, real=True)
    correlation = np.empty((len(x), steps + 1))
    for replica, values in zip(correlation, x, strict=True):
        power = (np.abs(fft.rfft(values, padded, axis=0)) ** 2).sum(axis=1)
        replica[:] = fft.irfft(power, padded)[: steps + 1]
    correlation *= _window(settings.window, steps) / (n - np.arange(steps + 1))
    # Twice the half from t = 0 on, which is shared by both.
    correlation[:, 0] /= 2
    size = max(math.ceil(8 / (LIGHT * settings.resolution * dt)), 2 * steps + 2)
    size = fft.next_fast_len(size, real=True)
    density = 2 * dt * fft.rfft(correlation, size, axis=1).real
    density *= 2 * LIGHT / (BOLTZMANN * settings.temperature * ENERGY)
    wavenumbers = fft.rfftfreq(size, dt) / LIGHT
    if not rates:
        density /= np.sinc(LIGHT * wavenumbers * dt) ** 2
    if settings.verlet_step is not None:
        turn = LIGHT * wavenumbers * settings.verlet_step
        # Over d nu true/d nu, which ends at 0; the rates times (nu true/nu)^2.
        density /= np.maximum(np.cos(np.pi * turn), 1e-6)
        if not rates:
            density *= np.sinc(turn) ** 2
        wavenumbers = wavenumbers * np.sinc(turn)
    return wavenumbers, density


def _window(name: str, steps: int) -> np.ndarray:
    """w(t) from t = 0, where it is 1, to t_max, (steps + 1,)."""
    if name == "none":
        return np.ones(steps + 1)
    kind = {"hann": "hann", "blackman-harris": "blackmanharris"}[name]
    return np.asarray(signal.get_window(kind, 2 * steps + 1, fftbins=False)[steps:])


def _corrected(series: np.ndarray, settings: Correlation) -> tuple[np.ndarray, np.ndarray]:
    """Wavenumbers and D of each replica with the quantum correction."""
    x, density = spectral_density(series.reshape(*series.shape[:2], -1), settings)
    factor = CORRECTIONS[settings.quantum_correction](KELVIN * x / settings.temperature)
    return x, density * factor


def _mean(
    x: np.ndarray, values: np.ndarray, settings: Correlation, series: np.ndarray
) -> dict[str, Any]:
    """Fields of a `Curve` for the mean over replicas, up to the highest wavenumber."""
    seen = x <= settings.end
    values, (replicas, records) = values[:, seen], series.shape[:2]
    scatter = values.std(axis=0, ddof=1) / math.sqrt(replicas) if replicas > 1 else None
    return {
        "wavenumbers": x[seen],
        "values": values.mean(axis=0),
        "errors": scatter,
        "width": settings.resolution,
        "facts": {
            "temperature_K": settings.temperature,
            "time_step_fs": settings.time_step,
            "record_fs": settings.time_step * (records - 1),
            "replicas": replicas,
            "window": settings.window,
            "longest_time_fs": settings.time_step * settings.steps,
            "quantum_correction": settings.quantum_correction,
            "verlet_step_fs": settings.verlet_step,
        },
    }


def _series(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The series as (replicas, n, *shape), given with or without replicas."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == len(shape) + 1:
        array = array[None]
    if array.ndim != len(shape) + 2 or array.shape[2:] != shape or array.shape[1] < 4:
        raise InputError(
            f"{name} of shape {np.shape(values)}: give (n, {', '.join(map(str, shape))}) or "
            "(replicas, n, ...) with n at least 4"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name} is not finite (NaN or infinity)")
    return array
