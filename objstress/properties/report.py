"""A crystal's elasticity as text."""

from __future__ import annotations

import numpy as np

from objstress.properties.crystal import CrystalProperties


def describe(properties: CrystalProperties) -> str:
    """A page of text: constants in both frames, averages, moduli, sound and heat, with units.

    Args:
        properties: of one crystal.
    """
    structure, group = properties.structure, properties.point_group
    lines = [
        f"{structure.composition.reduced_formula}, space group {properties.space_group[0]} "
        f"({properties.space_group[1]}), point group {group.symbol}, {group.crystal_system}",
        f"{properties.model}, {properties.ions} ions; "
        f"{len(structure)} atom{'s' * (len(structure) > 1)}, "
        f"{structure.volume:.3f} Angstrom^3, {structure.density:.4f} g/cm^3",
        "",
        "elastic constants, GPa, IEEE frame",
        _matrix(properties.stiffness_ieee),
    ]
    if not np.allclose(properties.to_ieee, np.eye(3), atol=1e-9):
        lines += [
            "the same, frame of the structure",
            _matrix(properties.stiffness),
            "from there to the IEEE frame, rows are its axes",
            "\n".join("  " + " ".join(f"{x:9.5f}" for x in row) for row in properties.to_ieee),
        ]
    if properties.deviation is not None:
        lines += ["standard deviation of each", _matrix(properties.deviation)]
    lines += ["form", *("  " + "  ".join(f"{s:>13}" for s in row) for row in properties.form()), ""]
    if properties.note:
        lines.append(f"NOTE: {properties.note}")
    stability = properties.stability
    if not stability.stable:
        strain = np.array2string(stability.softest_strain, precision=3, suppress_small=True)
        lines.append(f"UNSTABLE: this strain costs {stability.eigenvalues[0]:.3f} GPa\n{strain}")
    if (properties.least_ion_stiffness or 0.0) < 0:
        lines.append(
            "UNSTABLE: the ions move off their sites, stiffness "
            f"{properties.least_ion_stiffness:.3g} eV/Angstrom^2"
            + (f": {properties.unstable_mode}" if properties.unstable_mode else "")
            + ("\nstrains drive them: these constants have no meaning" if properties.driven else "")
        )
    means, heat, ends = properties.averages, properties.thermal, properties.extremes
    if means is None or heat is None or ends is None:
        return "\n".join(lines)
    lines.append("average      K, GPa   G, GPa   E, GPa       nu")
    for name in ("voigt", "reuss", "hill"):
        m = getattr(means, name)
        lines.append(
            f"{name.capitalize():<9} {m.bulk:9.2f}{m.shear:9.2f}{m.young:9.2f}{m.poisson:9.4f}"
        )
    lines += [
        f"universal anisotropy {means.universal_anisotropy:.4f}, Pugh's K/G {means.pugh_ratio:.3f}",
        "hardness, GPa: " + ", ".join(f"{k} {v:.1f}" for k, v in means.hardness_GPa.items()),
        "",
        f"{'modulus':<22}{'least':>8}  {'along n, m':<48}{'largest':>8}  along n, m",
    ]
    for name, unit, factor in (
        ("young", "GPa", 1.0), ("shear", "GPa", 1.0), ("poisson", "", 1.0),
        ("compressibility", "1/TPa", 1e3),
    ):  # fmt: skip
        e = ends[name]
        label = f"{f'{name}, {unit}'.rstrip(', '):<22}"
        if np.isclose(e.least, e.largest, rtol=1e-9):
            lines.append(f"{label}{factor * e.least:8.3f}  all directions")
            continue
        lines.append(
            f"{label}{factor * e.least:8.3f}  {_vectors(e.least_n, e.least_m):<48}"
            f"{factor * e.largest:8.3f}  {_vectors(e.largest_n, e.largest_m)}"
        )
    lines += [
        "",
        f"sound, km/s: longitudinal {heat.longitudinal:.3f}, transverse {heat.transverse:.3f}, "
        f"mean {heat.mean:.3f}",
        f"Debye temperature {heat.debye_temperature:.1f} K",
        f"minimum thermal conductivity, W/(m K): Clarke {heat.clarke_limit:.3f}, "
        f"Cahill {heat.cahill_limit:.3f}",
    ]
    return "\n".join(lines)


def _matrix(c: np.ndarray) -> str:
    rounded = np.round(c, 3) + 0.0
    return "\n".join("  " + " ".join(f"{x:9.3f}" for x in row) for row in rounded)


def _vectors(*vectors: np.ndarray | None) -> str:
    texts = []
    for n in vectors:
        if n is not None:
            n = np.round(n if n[np.abs(n).argmax()] > 0 else -n, 3) + 0.0
            texts.append("[" + " ".join(f"{x:6.3f}" for x in n) + "]")
    return " ".join(texts)
