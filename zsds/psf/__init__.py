"""Point-spread functions: models, their fit to stars, and fits of many stars with them."""

from zsds.psf.fit import PsfFit, PsfSettings, fit_psf, given_psf, guess_fwhm
from zsds.psf.model import GridPsf, PolynomialPsf, profile_fwhm
from zsds.psf.moffat import MoffatPsf
from zsds.psf.scale import FluxScale
from zsds.psf.selection import SelectionSettings, select_stars
from zsds.psf.solver import SolverSettings
from zsds.psf.sweep import FittedStars, SweepSettings, fit_all

__all__ = [
    "FittedStars",
    "FluxScale",
    "GridPsf",
    "MoffatPsf",
    "PolynomialPsf",
    "PsfFit",
    "PsfSettings",
    "SelectionSettings",
    "SolverSettings",
    "SweepSettings",
    "fit_all",
    "fit_psf",
    "given_psf",
    "guess_fwhm",
    "profile_fwhm",
    "select_stars",
]
