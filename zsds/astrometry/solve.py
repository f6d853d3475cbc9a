"""The astrometric solution of one image."""

import logging
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.astrometry.epoch import moved_to_epoch
from zsds.astrometry.fit import Fit, fit_best_order, map_errors
from zsds.astrometry.pattern import Pattern, Patterns, evenness, find_pattern
from zsds.astrometry.positions import nearest
from zsds.astrometry.residuals import match_table, residual_metrics
from zsds.astrometry.settings import AstrometrySettings
from zsds.astrometry.sip import sip_wcs
from zsds.core.errors import UnusableData
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.core.robust import mad_width
from zsds.core.sphere import ARCSEC_PER_RADIAN, deproject, project

log = logging.getLogger(__name__)
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Astrometry:
    """Where an image lies on the sky, and how well that is known.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        TAN-SIP (TAN where there is no distortion), ICRS, origin 0.
    matches : Table
        "astrometry_matches".
    n_matches : int
        Matches used in the fit.
    rms_ra, rms_dec : float
        Of the residuals used, arcsec, robust (1.4826 MAD).
    median_ra, median_dec : float
        Medians of the residuals, arcsec.
    shift_arcsec : float
        Distance on the sky between where the guess and the solution put the middle of the image.
    rotation_deg : float
        From the guess to the solution at the middle, from north to east.
    scale_ratio : float
        Pixel scale of the solution over that of the guess.
    order : int
        Of the polynomial fitted on top of the guess; 0 shift, rotation and scale only.
    log_odds : float
        Minus log10 of the number of equally good solutions expected by chance.
    metrics : mapping of str to float
        Residuals by magnitude and by cell of 3 x 3, and other numbers worth plotting;
        ``worst_place_arcsec`` is the error per axis of the solution itself where it is least known.
    """

    wcs: WCS
    matches: Table
    n_matches: int
    rms_ra: float
    rms_dec: float
    median_ra: float
    median_dec: float
    shift_arcsec: float
    rotation_deg: float
    scale_ratio: float
    order: int
    log_odds: float
    metrics: dict[str, float] = field(default_factory=dict)


def fit_astrometry(
    stars: Table, gaia: Table, guess: WCS, mid_mjd: float, settings: AstrometrySettings | None = None
) -> Astrometry:
    """Solve for the coordinates of an image.

    Parameters
    ----------
    stars : Table
        Detections: ``x y`` (pixels, origin 0), ``flux``; where given ``flux_err`` and ``fwhm`` (pixels) or
        ``x_err y_err`` (pixels) say how precise each is.
    gaia : Table
        Reference stars over the image and the pointing error around it: table "gaia", of which only
        ``ra dec`` are needed.
    guess : astropy.wcs.WCS
        Nominal coordinates with or without distortion, or an earlier solution. Its ``pixel_shape`` gives
        the size of the image; without it the stars' extent does.
    mid_mjd : float
        Middle of the exposure, UTC.
    settings : AstrometrySettings, optional

    Returns
    -------
    Astrometry

    Raises
    ------
    UnusableData
        If there are too few stars, or no solution that chance would not give as well.
    """
    settings = settings or AstrometrySettings()
    field_ = _Field.of(stars, gaia, guess, mid_mjd, settings)
    pattern = find_pattern(field_.patterns, settings)
    _check_pattern(pattern, field_, settings)
    fit, index, neighbour = _fit_all(field_, pattern, settings)
    _check_fit(fit, index, field_, pattern, settings)
    wcs = sip_wcs(
        lambda pixels: fit.map(field_.to_plane(pixels) @ pattern.orientation.T),
        field_.ra0,
        field_.dec0,
        field_.shape,
    )
    return _result(wcs, field_, pattern, fit, index, neighbour)


@dataclass(frozen=True)
class _Field:
    """Stars and reference stars in the plane tangent where the guess puts the middle of the image."""

    guess: WCS
    shape: tuple[int, int]
    ra0: float
    dec0: float
    scale: float
    patterns: Patterns
    star_rows: NDArray[np.int64]
    stars: Points
    errors: NDArray[np.float64]
    table: Table
    catalog_rows: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]

    @classmethod
    def of(cls, stars: Table, gaia: Table, guess: WCS, mjd: float, settings: AstrometrySettings) -> "_Field":
        pixels = np.stack([np.asarray(stars["x"], float), np.asarray(stars["y"], float)], axis=1)
        flux = np.asarray(stars["flux"], float)
        good = np.isfinite(pixels).all(axis=1) & (flux > 0)
        rows = np.flatnonzero(good)[np.argsort(-flux[good], kind="stable")][: settings.max_stars]
        if len(rows) < settings.min_matches or len(gaia) < settings.min_matches:
            raise UnusableData(
                "too few stars for an astrometric solution",
                {"stars": len(rows), "reference_stars": len(gaia)},
            )
        shape = _image_shape(guess, pixels[rows])
        ra0, dec0, scale = _middle(guess, shape)
        ra, dec = moved_to_epoch(gaia, mjd)
        bare = cls(guess, shape, ra0, dec0, scale, None, rows, pixels[rows], None, gaia, None, ra, dec)
        plane = bare.to_plane(pixels[rows])
        half = max(shape) * scale / 2
        reach = half + settings.max_shift_arcsec * settings.wide_factor
        catalog = project(ra, dec, ra0, dec0)
        near = np.flatnonzero((np.abs(catalog) < reach).all(axis=1))
        near = near[np.argsort(_magnitudes(gaia)[near], kind="stable")]
        final = max(settings.match_radius_px * scale, settings.min_match_radius_arcsec)
        rough = max(settings.distortion_arcsec, 3 * scale, final)
        patterns = Patterns(plane, catalog[near], half, rough, final)
        errors = _centroid_errors(stars[rows], settings) * scale
        return cls(guess, shape, ra0, dec0, scale, patterns, rows, pixels[rows], errors, gaia, near, ra, dec)

    def to_plane(self, pixels: Points) -> Points:
        """Where the guess puts pixels [n, 2], arcsec about the middle."""
        world = self.guess.all_pix2world(pixels, 0)
        return project(world[:, 0], world[:, 1], self.ra0, self.dec0)


def _image_shape(guess: WCS, pixels: Points) -> tuple[int, int]:
    if guess.pixel_shape is not None and all(guess.pixel_shape):
        nx, ny = guess.pixel_shape
        return int(ny), int(nx)
    nx, ny = np.ceil(pixels.max(axis=0)).astype(int) + 1
    return int(ny), int(nx)


def _middle(guess: WCS, shape: tuple[int, int]) -> tuple[float, float, float]:
    """Direction of the image's middle (degrees) and its pixel scale (arcsec) by the guess."""
    ny, nx = shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    world = guess.all_pix2world([[x, y], [x + 1, y], [x, y + 1]], 0)
    plane = project(world[:, 0], world[:, 1], world[0, 0], world[0, 1])
    scale = float(np.sqrt(abs(np.linalg.det(plane[1:] - plane[0]))))
    if not np.isfinite(world).all() or not scale > 0:
        raise UnusableData("the guess of the coordinates is not usable", {"pixel_scale": scale})
    return float(world[0, 0]), float(world[0, 1]), scale


def _magnitudes(gaia: Table) -> NDArray[np.float64]:
    if "phot_g_mean_mag" not in gaia.colnames:
        return np.zeros(len(gaia))
    mags = np.ma.filled(np.ma.asarray(gaia["phot_g_mean_mag"], dtype=np.float64), np.nan)
    return np.where(np.isfinite(mags), mags, 99.0)


def _centroid_errors(stars: Table, settings: AstrometrySettings) -> NDArray[np.float64]:
    """Error per axis in pixels: as measured, or FWHM / (2.355 S/N); at least 0.002."""
    if {"x_err", "y_err"} <= set(stars.colnames):
        errors = np.sqrt(
            (np.asarray(stars["x_err"], float) ** 2 + np.asarray(stars["y_err"], float) ** 2) / 2
        )
    else:
        errors = np.full(len(stars), np.nan)
    fwhm = np.full(len(stars), settings.fwhm_px)
    if "fwhm" in stars.colnames:
        measured = np.asarray(stars["fwhm"], float)
        typical = np.nanmedian(measured[measured > 0]) if np.any(measured > 0) else settings.fwhm_px
        fwhm = np.where(measured > 0, measured, typical)
    noise = np.full(len(stars), 0.1 * settings.fwhm_px)
    if "flux_err" in stars.colnames:
        noise = (
            fwhm / FWHM_PER_SIGMA * np.asarray(stars["flux_err"], float) / np.asarray(stars["flux"], float)
        )
    errors = np.where(np.isfinite(errors) & (errors > 0), errors, noise)
    return np.where(np.isfinite(errors), np.maximum(errors, 0.002), 1.0)


def _check_pattern(pattern: Pattern | None, field_: _Field, settings: AstrometrySettings) -> None:
    numbers = {"stars": len(field_.patterns.stars), "reference_stars": len(field_.patterns.catalog)}
    if pattern is None:
        raise UnusableData("no astrometric solution", {"matches": 0, **numbers})
    numbers |= {
        "matches": len(pattern.stars),
        "expected_by_chance": pattern.expected,
        "log_odds": pattern.log_odds,
        "uneven_cells": pattern.uneven,
    }
    sure = pattern.log_odds >= settings.min_log_odds and len(pattern.stars) >= settings.min_matches
    if not sure or pattern.uneven > 2:
        raise UnusableData("no astrometric solution", numbers)


def _fit_all(
    field_: _Field, pattern: Pattern, settings: AstrometrySettings
) -> tuple[Fit, NDArray[np.int64], NDArray[np.int64]]:
    """Fit with all stars, matched twice again with the better map."""
    patterns = field_.patterns
    stars = patterns.stars @ pattern.orientation.T
    index, neighbour = pattern.stars, pattern.catalog
    for _ in range(3):
        errors = np.hypot(field_.errors[index], _catalog_errors(field_)[neighbour])
        fit = fit_best_order(
            stars[index], patterns.catalog[neighbour], errors, patterns.half_size, settings, pattern.order
        )
        previous = index
        found, other, _ = nearest(fit.map(stars), patterns.catalog, patterns.final, one_to_one=True)
        if len(found) < 3 or (len(found) == len(previous) and np.array_equal(found, previous)):
            break
        index, neighbour = found, other
    errors = np.hypot(field_.errors[index], _catalog_errors(field_)[neighbour])
    fit = fit_best_order(
        stars[index], patterns.catalog[neighbour], errors, patterns.half_size, settings, pattern.order
    )
    return fit, index, neighbour


def _catalog_errors(field_: _Field) -> NDArray[np.float64]:
    """Mean error per axis of the reference stars, arcsec; 0 where unknown."""
    errors = np.zeros(len(field_.table))
    for name in ("ra_error", "dec_error"):
        if name in field_.table.colnames:
            column = np.ma.filled(np.ma.asarray(field_.table[name], dtype=np.float64), np.nan)
            errors += np.where(np.isfinite(column), column, 0.0) ** 2 / 2
    return np.sqrt(errors[field_.catalog_rows]) / 1000


def _check_fit(
    fit: Fit, index: NDArray[np.int64], field_: _Field, pattern: Pattern, settings: AstrometrySettings
) -> None:
    """A map that turns the image inside out, keeps few stars, or leaves parts without, is no solution."""
    corners = field_.to_plane(_corner_pixels(field_.shape)) @ pattern.orientation.T
    step = 1e-3 * field_.patterns.half_size
    nodes = [fit.map(corners + shift) for shift in ([0.0, 0.0], [step, 0.0], [0.0, step])]
    areas = np.linalg.det(np.stack([nodes[1] - nodes[0], nodes[2] - nodes[0]], axis=1)) / step**2
    moved = fit.map(field_.patterns.stars @ pattern.orientation.T)
    uneven, _ = evenness(moved, field_.patterns.catalog, moved[index])
    few = fit.used.sum() < max(3, settings.min_matches - 1)
    if few or uneven > 2 or np.abs(areas - np.median(areas)).max() > 0.1:
        numbers = {"matches": int(fit.used.sum()), "log_odds": pattern.log_odds, "uneven_cells": uneven}
        raise UnusableData("no astrometric solution", numbers | {"area_ratio": float(areas.max())})


def _corner_pixels(shape: tuple[int, int]) -> Points:
    ny, nx = shape
    x, y = np.meshgrid([0.0, (nx - 1) / 2, nx - 1.0], [0.0, (ny - 1) / 2, ny - 1.0])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _result(
    wcs: WCS,
    field_: _Field,
    pattern: Pattern,
    fit: Fit,
    index: NDArray[np.int64],
    neighbour: NDArray[np.int64],
) -> Astrometry:
    rows = field_.catalog_rows[neighbour]
    matches = match_table(
        wcs,
        field_.star_rows[index],
        field_.stars[index],
        field_.table[rows],
        field_.ra[rows],
        field_.dec[rows],
        fit,
    )
    used = matches[matches["used"]]
    residuals = np.stack([used["residual_ra"], used["residual_dec"]], axis=1).astype(np.float64)
    median = np.median(residuals, axis=0)
    rms = [mad_width(axis) for axis in residuals.T]
    shift, rotation, ratio = _change(field_, pattern, fit)
    metrics = residual_metrics(matches, field_.shape)
    metrics |= {
        "jitter_arcsec": fit.jitter,
        "expected_by_chance": pattern.expected,
        "uneven_cells": pattern.uneven,
    }
    corners = field_.to_plane(_corner_pixels(field_.shape)) @ pattern.orientation.T
    points = field_.patterns.stars[index] @ pattern.orientation.T
    metrics["worst_place_arcsec"] = float(map_errors(fit, points, corners).max())
    metrics |= {"n_stars": len(field_.stars), "n_reference_stars": len(field_.catalog_rows)}
    log.info("astrometry: %d matches, rms %.3f %.3f arcsec, order %d", len(used), *rms, fit.order)
    return Astrometry(
        wcs,
        matches,
        len(used),
        *rms,
        float(median[0]),
        float(median[1]),
        shift,
        rotation,
        ratio,
        fit.order,
        pattern.log_odds,
        metrics,
    )


def _change(field_: _Field, pattern: Pattern, fit: Fit) -> tuple[float, float, float]:
    """Shift (arcsec), rotation (degrees) and scale ratio of the solution against the guess at the middle."""
    step = 0.01 * field_.patterns.half_size
    nodes = np.array([[0.0, 0.0], [step, 0.0], [0.0, step]]) @ pattern.orientation.T
    moved = fit.map(nodes)
    matrix = (moved[1:] - moved[0]).T / step
    sign = np.sign(np.linalg.det(matrix))
    rotation = -np.degrees(np.arctan2(matrix[1, 0] - sign * matrix[0, 1], matrix[0, 0] + sign * matrix[1, 1]))
    ra, dec = deproject(moved[:1], field_.ra0, field_.dec0)
    offset = project(ra, dec, field_.ra0, field_.dec0) / ARCSEC_PER_RADIAN
    shift = float(np.arctan(np.hypot(*offset[0])) * ARCSEC_PER_RADIAN)
    return shift, float(rotation), float(np.sqrt(abs(np.linalg.det(matrix))))
