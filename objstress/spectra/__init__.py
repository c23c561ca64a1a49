"""Vibrational spectra of molecules and crystals: harmonic, and from molecular dynamics.

For example::

    from objstress.spectra import harmonic_spectrum, plot_spectra

    spectrum = harmonic_spectrum(atoms, load_potential("water.potential"))
    spectrum.wavenumbers             # (m,) cm^-1
    spectrum.infrared_intensities    # (m,) km/mol
    plot_spectra(spectrum.infrared(fwhm=10), "infrared.png")

Spectra of dynamics are `infrared_from_dipoles`, `raman_from_polarizabilities` and
`density_of_states` of a record, with the settings `Correlation`.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
