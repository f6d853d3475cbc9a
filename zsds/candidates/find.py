"""From a difference image and its score to the table of candidates."""

from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.candidates import judge
from zsds.candidates.field import SOFT_DEFECTS, Field, make_field
from zsds.candidates.fits import (
    DipoleFit,
    Patch,
    PointFit,
    TrailFit,
    cut_patch,
    fit_dipole,
    fit_point,
    fit_trail,
    points_chi2,
    steadied,
    without_source,
)
from zsds.candidates.flags import CandidateFlag as Flag
from zsds.candidates.measure import (
    CORE_ERROR,
    Shape,
    measure_aperture,
    measure_core,
    measure_shape,
    measure_sharpness,
    measure_spread,
    ray_gain,
    star_likeness,
)
from zsds.candidates.numbers import number
from zsds.candidates.peaks import Peaks, find_peaks
from zsds.candidates.settings import CandidateSettings
from zsds.core.difference import Difference, source_error
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.ids import processing_id
from zsds.core.psf import FWHM_PER_SIGMA, effective_fwhm
from zsds.core.tables import columns, new_table
from zsds.core.units import magnitude, magnitude_error
from zsds.kernels.features import ring_medians
from zsds.photometry import freed_of_place

MAX_TRAIL_HALF = 60  # pixels; longer trails are for the detector of streaks
WIDTH_CELL = 64  # pixels over which the width of the PSF does not change
LIMIT_SIGMA = 5.0
HOST_RING = (4.0, 8.0)  # pixels around a candidate that tell what it sits on in the science image


def find_candidates(
    difference: Difference,
    science: Exposure,
    settings: CandidateSettings | None = None,
    reference: Exposure | None = None,
    stars: Table | None = None,
) -> Table:
    """Every significant peak of either sign, measured, flagged, and judged.

    Parameters
    ----------
    difference : Difference
        In electrons of the science image, with its PSF and score image.
    science : Exposure
        Background-subtracted, on the same pixels.
    settings : CandidateSettings, optional
    reference : Exposure, optional
        On the same pixels, in its own units; lets stars that faded explain residuals.
    stars : Table, optional
        PSF photometry of the science image (table ``stars``): how well point sources fit the PSF.

    Returns
    -------
    Table
        Declared as ``candidates``, alerts first, then by falling significance. Catalog columns are NaN.
        Nothing above the threshold is left out: ``flags`` says what is doubtful.

    Raises
    ------
    UnusableData
        With more than ``max_per_sign`` peaks of one sign.
    ValueError
        If the difference has no PSF.
    """
    settings = settings or CandidateSettings()
    field = make_field(difference, science, reference, stars, settings)
    peaks = find_peaks(field.score, settings.threshold, settings.min_prominence)
    for sign, count in (("positive", peaks.is_positive.sum()), ("negative", (~peaks.is_positive).sum())):
        if count > settings.max_per_sign:
            raise UnusableData(f"too many {sign} candidates", {"candidates": float(count)})
    widths = _widths(field, peaks)
    skies = _rings(field.data, field.bad, peaks, (settings.sky_inner, settings.sky_outer))
    hosts = _rings(field.science, field.bad, peaks, HOST_RING)
    rows = [_measure(field, peaks, i, skies[i], hosts[i], widths[i]) for i in range(len(peaks))]
    judge.mark_repeated_trails(rows)
    for row in rows:
        row["is_alert"] = judge.is_alert(row["flags"], settings)
    return _table(rows, science)


def _rings(data: NDArray, bad: NDArray, peaks: Peaks, radii: tuple[float, float]) -> NDArray[np.float64]:
    out = np.empty(len(peaks))
    ring_medians(data, bad, peaks.x, peaks.y, radii[0], radii[1], out)
    return np.nan_to_num(out)


def _widths(field: Field, peaks: Peaks) -> list[float]:
    """FWHM of the difference's PSF at each peak, to the nearest of a coarse grid."""
    cells = [(round(x / WIDTH_CELL), round(y / WIDTH_CELL)) for x, y in zip(peaks.x, peaks.y, strict=True)]
    known = {
        cell: effective_fwhm(field.psf.at(cell[0] * WIDTH_CELL, cell[1] * WIDTH_CELL)) for cell in set(cells)
    }
    return [known[cell] for cell in cells]


def _measure(field: Field, peaks: Peaks, i: int, sky: float, host: float, fwhm: float) -> dict[str, Any]:
    settings = field.settings
    row, col, sign = int(peaks.row[i]), int(peaks.col[i]), 1 if peaks.is_positive[i] else -1
    half, science_stamp = field.psf.size // 2, field.science_psf.at(col, row)
    patch = cut_patch(field.data, field.variance, field.bad, col, row, half, 2 * fwhm, sky)
    patch = steadied(patch, field.psf, peaks.x[i], peaks.y[i], field.noise_slope)
    fit = fit_point(patch, field.psf, peaks.x[i], peaks.y[i])
    dipole = _try_dipole(field, patch, peaks, i, fwhm)
    dipole_columns = _dipole_columns(field, dipole, fit)
    if dipole is not None and judge.is_pair(dipole_columns, settings):
        others = (dipole.negative, dipole.fluxes[1]) if sign > 0 else (dipole.positive, dipole.fluxes[0])
        patch = without_source(patch, field.psf, *others)
        fit = fit_point(patch, field.psf, peaks.x[i], peaks.y[i])
    shape = measure_shape(patch, fit, sign, fwhm)
    spread, spread_err = measure_spread(patch, fit)
    trail = _try_trail(field, peaks, i, shape, fwhm, sky)
    found = {
        **_position(peaks, i, fit),
        **_brightness(field, patch, fit, row, col),
        **_form(field, patch, fit, shape, sign, fwhm),
        "sky": sky / field.gain,
        "classtar": star_likeness(spread, spread_err),
        "fit_shift": np.hypot(fit.x - peaks.x[i], fit.y - peaks.y[i]),
        "fit_pixels": fit.n_pixels,
        "spread": spread,
        "spread_err": spread_err,
        "ray_gain": ray_gain(patch, fit, sign, max(CORE_ERROR, field.model_error)),
        "model_error": field.model_error,
        "star_flux": _star_flux(field, science_stamp, row, col),
        "light": _light(field, fit.stamp, row, col, fit.flux),
        **_sharpness(field, science_stamp, row, col, sign, host),
        **dipole_columns,
        **_trail_columns(trail),
    }
    found["flags"] = judge.flags_of(found, settings, _surroundings(field, row, col))
    found["patch"] = (sign, peaks.patch_x[i], peaks.patch_y[i])
    if trail is not None and found["flags"] & Flag.TRAIL:
        found["x"], found["y"] = trail.x, trail.y
    return found


def _position(peaks: Peaks, i: int, fit: PointFit) -> dict[str, Any]:
    return {
        "is_positive": peaks.is_positive[i],
        "score": peaks.score[i],
        "scorr": abs(float(peaks.score[i])),
        "npix": peaks.npix[i],
        "nblend": peaks.nblend[i],
        "x": fit.x,
        "y": fit.y,
        "x_err": fit.x_err,
        "y_err": fit.y_err,
    }


def _brightness(field: Field, patch: Patch, fit: PointFit, row: int, col: int) -> dict[str, Any]:
    """Fluxes; the error is never smaller than the subtraction's own, which knows registration noise too.

    The PSF flux is that of the fit without what it gains where the place is free to follow the noise.
    """
    empty = float(field.flux_err[row, col])
    psf_err = float(np.fmax(fit.flux_err, source_error(empty, field.own_noise, fit.flux, fit.stamp)))
    psf_flux = float(freed_of_place(np.float64(fit.flux), np.float64(psf_err)))
    ring = np.pi * (field.settings.sky_outer**2 - field.settings.sky_inner**2)
    aperture = measure_aperture(patch, fit, field.settings.aperture, ring)
    big = measure_aperture(patch, fit, field.settings.big_aperture, ring)
    found = {
        "flux": psf_flux,
        "flux_err": psf_err,
        "snr": fit.flux / psf_err,
        "limit_flux": LIMIT_SIGMA * empty,
        "chipsf": fit.chi,
        "ap_flux": aperture.flux,
        "ap_flux_err": aperture.flux_err,
    }
    for mag, err, flux, flux_err in (
        ("magpsf", "sigmapsf", psf_flux, psf_err),
        ("magap", "sigmagap", aperture.flux, aperture.flux_err),
        ("magapbig", "sigmagapbig", big.flux, big.flux_err),
    ):
        size = np.copysign(1.0, fit.flux) * flux  # of the sign of the PSF flux, or it has no magnitude
        found[mag] = float(magnitude(size, field.zero_point))
        found[err] = float(magnitude_error(size, flux_err))
    found["magdiff"] = found["magap"] - found["magpsf"]
    found["magfromlim"] = field.limit_mag - found["magap"]
    return found


def _form(field: Field, patch: Patch, fit: PointFit, shape: Shape, sign: int, fwhm: float) -> dict[str, Any]:
    core = measure_core(patch, sign)
    ny, nx = field.data.shape
    peak = sign * float(patch.data[patch.half, patch.half])
    matched = sign * float((fit.stamp * patch.data).sum())
    dsnrms = peak / field.noise
    ssnrms = matched / (field.noise * np.sqrt(float((fit.stamp.astype(float) ** 2).sum())))
    return {
        "fwhm": shape.fwhm,
        "seeratio": fwhm / shape.fwhm,
        "aimage": shape.major,
        "bimage": shape.minor,
        "aimagerat": shape.major / shape.fwhm,
        "bimagerat": shape.minor / shape.fwhm,
        "elong": shape.major / shape.minor,
        "shape_sigma": shape.departure_sigma,
        "theta": np.degrees(shape.angle),
        "nneg": core.n_negative,
        "nbad": core.n_bad,
        "sumrat": core.sum_ratio,
        "mindtoedge": min(fit.x, fit.y, nx - 1 - fit.x, ny - 1 - fit.y) + 0.5,
        "dsnrms": dsnrms,
        "ssnrms": ssnrms,
        "dsdiff": dsnrms - ssnrms,
    }


def _window(array: NDArray, row: int, col: int, reach: int) -> NDArray:
    return array[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]


def _star_flux(field: Field, stamp: NDArray[np.float32], row: int, col: int) -> float:
    """Flux of the brightest point source within 3 pixels that science or reference could hold."""
    peak = float(stamp.max())
    images = [field.science] if field.reference is None else [field.science, field.reference]
    tops = [_window(image, row, col, 3) for image in images]
    return max((float(np.nanmax(top)) for top in tops if np.isfinite(top).any()), default=0.0) / peak


def _light(field: Field, stamp: NDArray[np.float32], row: int, col: int, new_flux: float) -> float:
    """PSF-weighted flux of what was there before: of the reference, or of science without the new source.

    0 where the PSF reaches beyond the image.
    """
    half = stamp.shape[0] // 2
    image = field.science if field.reference is None else field.reference
    pixels = image[max(0, row - half) : row + half + 1, max(0, col - half) : col + half + 1]
    if pixels.shape != stamp.shape:
        return 0.0
    flux = float(np.nansum(stamp * pixels)) / float((stamp.astype(float) ** 2).sum())
    return flux - new_flux if field.reference is None else flux


def _sharpness(
    field: Field, stamp: NDArray[np.float32], row: int, col: int, sign: int, host: float
) -> dict[str, Any]:
    if sign < 0:  # a cosmic ray brightens; the clipped reference has none
        return {"sharpness": np.nan, "sharp_sigma": 0.0}
    patch = cut_patch(field.science, field.science_variance, field.bad, col, row, 3, 3, host)
    sharp = measure_sharpness(patch, stamp)
    return {"sharpness": sharp.ratio, "sharp_sigma": sharp.excess_sigma}


def _try_dipole(field: Field, patch: Patch, peaks: Peaks, i: int, fwhm: float) -> DipoleFit | None:
    """Fit two lobes where the score image has an opposite peak beside this one."""
    sign, reach = (1 if peaks.is_positive[i] else -1), int(np.ceil(2 * fwhm))
    row, col = int(peaks.row[i]), int(peaks.col[i])
    top, left = max(0, row - reach), max(0, col - reach)
    opposite = np.nan_to_num(-sign * _window(field.score, row, col, reach), nan=-np.inf)
    if not opposite.max() >= field.settings.dipole_score:
        return None
    r, c = np.unravel_index(int(opposite.argmax()), opposite.shape)
    lobes = [(peaks.x[i], peaks.y[i]), (left + float(c), top + float(r))]
    return fit_dipole(patch, field.psf, *(lobes if sign > 0 else lobes[::-1]))


def _dipole_columns(field: Field, dipole: DipoleFit | None, fit: PointFit) -> dict[str, Any]:
    if dipole is None:
        return {}
    x, y = np.add(dipole.positive, dipole.negative) / 2
    col, row = round(float(x)), round(float(y))
    stamp = field.psf.at(x, y, x - col, y - row)
    return {
        "dipole_star": _light(field, stamp, row, col, 0.0) if min(row, col) >= 0 else 0.0,
        "dipole_flux": dipole.flux,
        "dipole_length": np.hypot(dipole.dx, dipole.dy),
        "dipole_angle": np.degrees(np.arctan2(dipole.dy, dipole.dx)),
        "dipole_chi_ratio": dipole.chi2 / fit.chi2 if fit.chi2 > 0 else np.nan,
    }


def _try_trail(field: Field, peaks: Peaks, i: int, shape: Shape, fwhm: float, sky: float) -> TrailFit | None:
    """Fit a line where the source, or the patch it stands on, is longer than it is wide."""
    round_extent = np.sqrt(peaks.npix[i] / (4 * np.pi))
    long_patch = peaks.npix[i] >= 20 and peaks.extent[i] > 1.4 * round_extent
    long_core = shape.major > 1.2 * shape.minor and shape.departure_sigma > field.settings.elong_sigma
    if not (long_patch or long_core):
        return None
    width = fwhm / FWHM_PER_SIGMA
    if long_patch:
        x, y, angle, length = peaks.patch_x[i], peaks.patch_y[i], peaks.angle[i], peaks.extent[i]
    else:
        x, y, angle, length = peaks.x[i], peaks.y[i], shape.angle, shape.major
    along = min(np.sqrt(3 * max(length**2 - width**2, 0.25)), MAX_TRAIL_HALF - 10)
    half = min(int(np.ceil(along + 4 * fwhm)), MAX_TRAIL_HALF)
    patch = cut_patch(
        field.data, field.variance, field.bad, round(x), round(y), half, along + 2.5 * fwhm, sky
    )
    core = field.psf.at(x, y)
    middle, reach = core.shape[0] // 2, min(core.shape[0] // 2, int(np.ceil(2 * fwhm)))
    core = np.ascontiguousarray(
        core[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    )
    trail = fit_trail(patch, core, (x, y), (along * np.cos(angle), along * np.sin(angle)))
    if peaks.nblend[i] > 1 and points_chi2(patch, core, _patch_mates(peaks, i)) < trail.chi2:
        return None
    return trail


def _patch_mates(peaks: Peaks, i: int) -> NDArray[np.float64]:
    """Positions [n, 2] of the peaks that share a patch with this one, itself included; at most ten."""
    same = (peaks.patch_x == peaks.patch_x[i]) & (peaks.patch_y == peaks.patch_y[i])
    same &= peaks.is_positive == peaks.is_positive[i]
    return np.column_stack([peaks.x[same], peaks.y[same]])[:10]


def _trail_columns(trail: TrailFit | None) -> dict[str, Any]:
    if trail is None:
        return {}
    return {
        "trail_flux": trail.flux,
        "trail_length": 2 * np.hypot(trail.ux, trail.uy),
        "trail_angle": np.degrees(np.arctan2(trail.uy, trail.ux)) % 180,
        "trail_chi_ratio": trail.chi2 / trail.chi2_point if trail.chi2_point > 0 else np.nan,
        "trail_gain": trail.chi2_point - trail.chi2,
        "trail_chi": trail.chi2 / max(trail.n_pixels - 5, 1),
        "trail_thin_gain": trail.chi2 - trail.chi2_thin,
        "trail_snr": trail.flux / trail.flux_err,
        "trail_pixels": trail.n_pixels,
    }


def _surroundings(field: Field, row: int, col: int) -> Flag:
    flags = Flag(0)
    if field.mask[row, col] & np.uint32(SOFT_DEFECTS | Mask.TRAIL):
        flags |= Flag.GHOST
    if field.bad[row, col]:
        flags |= Flag.DEFECT_CORE
    if (_window(field.mask, row, col, 2) & np.uint32(Mask.COSMIC_RAY)).any():
        flags |= Flag.COSMIC_RAY
    near = _window(field.mask, row, col, int(field.settings.saturated_reach))
    if (near & np.uint32(Mask.SATURATED | Mask.BLEED)).any():
        flags |= Flag.NEAR_SATURATED
    return flags


def _table(rows: list[dict[str, Any]], science: Exposure) -> Table:
    rows = sorted(rows, key=lambda found: (not found["is_alert"], -found["scorr"], found["y"], found["x"]))
    table = new_table("candidates", len(rows))
    for column in columns("candidates"):
        if column.dtype.startswith("f"):
            table[column.name] = [found.get(column.name, np.nan) for found in rows]
            table[column.name] = table[column.name].astype(column.dtype)
        elif rows and column.name in rows[0]:
            table[column.name] = np.array([found[column.name] for found in rows]).astype(column.dtype)
        table[column.name].unit, table[column.name].description = column.unit, column.meaning
    for name in ("objectidps1", "objectidps2", "objectidps3"):
        table[name] = np.int64(-1)
    if rows and science.wcs is not None:
        table["ra"], table["dec"] = science.wcs.all_pix2world(table["x"], table["y"], 0)
    return number(table, processing_id(science.info.start_mjd, science.info.channel))
