"""Point-spread functions of the simulated sky: elliptical, with wings, varying over the field."""

from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from zsds.kernels import render

PROFILE_STEP = 0.004  # of the radial profiles, in units of the FWHM
PROFILE_END = 30.0
FAMILIES = ("moffat", "kolmogorov", "gaussian", "gaussian_wings", "trailed", "coma")


@dataclass(frozen=True)
class PsfShape:
    """Shape of the point-spread function before the pixels integrate it, and its run over the field.

    Parameters
    ----------
    fwhm : float
        Pixels, geometric mean of the axes, in the middle of the field.
    family : str
        One of `FAMILIES`.
    beta : float
        Moffat exponent (families moffat, trailed, coma).
    e1, e2 : float
        Ellipticity (a - b) / (a + b) along x and along the diagonal, in the middle.
    asymmetry : float
        Length of the trail or of the coma's tail, in FWHM.
    angle_deg : float
        Direction of trail or coma, from +x towards +y.
    wing_fraction : float
        Part of the flux in the wide wings, which fall as radius**-wing_power outside wing_core pixels.
    fwhm_terms, e1_terms, e2_terms : tuple of float
        Coefficients of X, Y, X**2, X Y, Y**2 (X, Y from -1 to 1 over the frame), relative for the FWHM.
    """

    fwhm: float
    family: str = "moffat"
    beta: float = 3.0
    e1: float = 0.0
    e2: float = 0.0
    asymmetry: float = 0.0
    angle_deg: float = 0.0
    wing_fraction: float = 0.0
    wing_core: float = 6.0
    wing_power: float = 3.0
    fwhm_terms: tuple[float, ...] = (0.0,) * 5
    e1_terms: tuple[float, ...] = (0.0,) * 5
    e2_terms: tuple[float, ...] = (0.0,) * 5

    def at(self, x: float, y: float) -> tuple[float, float, float]:
        """(fwhm, e1, e2) at normalised field position (x, y)."""
        terms = np.array([x, y, x * x, x * y, y * y])
        fwhm = self.fwhm * (1 + terms @ np.array(self.fwhm_terms))
        return fwhm, self.e1 + terms @ np.array(self.e1_terms), self.e2 + terms @ np.array(self.e2_terms)


def varied_shape(shape: PsfShape, rng: np.random.Generator, amplitude: float = 0.04) -> PsfShape:
    """Copy of ``shape`` whose relative FWHM and ellipticity vary over the field by about ``amplitude``."""
    draws = rng.normal(0, amplitude / 2, (3, 5))
    return PsfShape(
        **{
            **shape.__dict__,
            "fwhm_terms": tuple(draws[0]),
            "e1_terms": tuple(draws[1]),
            "e2_terms": tuple(draws[2]),
        }
    )


@cache
def _radial_profile(family: str, beta: float) -> NDArray[np.float64]:
    """Surface brightness at radii k * PROFILE_STEP FWHM, 1 at the centre."""
    r = np.arange(0, PROFILE_END, PROFILE_STEP)
    if family == "gaussian":
        return np.exp(-4 * np.log(2) * r**2)
    if family == "gaussian_wings":
        return 0.9 * np.exp(-4 * np.log(2) * (1.04 * r) ** 2) + 0.1 * _moffat(0.6 * r, 2.5)
    if family == "kolmogorov":
        return _kolmogorov(r)
    return _moffat(r, beta)


def _moffat(r: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    alpha = 0.5 / np.sqrt(2 ** (1 / beta) - 1)
    return (1 + (r / alpha) ** 2) ** -beta


def _kolmogorov(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Long-exposure atmosphere, transfer function exp(-k**(5/3)) (Fried 1966), scaled to FWHM 1."""
    k = np.linspace(0, 14, 4001)
    transfer = np.exp(-(k ** (5 / 3))) * k
    radii = np.concatenate([np.arange(0, 12, 0.05), np.geomspace(12, 40, 60)])
    values = np.array([np.trapezoid(transfer * j0(k * s), k) for s in radii])
    values /= values[0]
    half = np.interp(0.5, values[:120][::-1], radii[:120][::-1])
    scaled = np.interp(2 * half * r, radii, values)
    end = 38.0 / (2 * half)
    tail = np.interp(38.0, radii, values) * (np.maximum(r, 1e-9) / end) ** (-11 / 3)
    return np.where(r > end, tail, np.maximum(scaled, 0))


def _parts(shape: PsfShape, fwhm: float, e1: float, e2: float) -> NDArray[np.float64]:
    """Rows (dx, dy, weight, qxx, qxy, qyy) of the copies of the profile that make up the PSF.

    The profile's radius is in FWHM. Trail: nine equal copies along a line. Coma: copies that grow
    wider and fainter along a line. The flux-weighted centre is at 0.
    """
    e = np.hypot(e1, e2)
    angle = 0.5 * np.arctan2(e2, e1)
    ratio = (1 + e) / (1 - e)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    form = turn.T @ np.diag([1 / ratio, ratio]) @ turn / fwhm**2
    if shape.asymmetry == 0 or shape.family not in ("trailed", "coma"):
        return np.array([[0, 0, 1, form[0, 0], form[0, 1], form[1, 1]]])
    steps = np.linspace(0, 1, 9)
    coma = shape.family == "coma"
    width = 1 + 0.6 * steps if coma else np.ones(9)
    share = 1 - 0.8 * steps if coma else np.ones(9)
    centred = steps - np.sum(steps * share) / np.sum(share)
    direction = np.radians(shape.angle_deg)
    along = centred * shape.asymmetry * fwhm
    rows = [
        along * np.cos(direction),
        along * np.sin(direction),
        share / width**2,
        form[0, 0] / width**2,
        form[0, 1] / width**2,
        form[1, 1] / width**2,
    ]
    return np.stack(rows, axis=1)


def _sampled(
    shape: PsfShape, at: tuple[float, float, float], radius: int, oversampling: int
) -> NDArray[np.float64]:
    """Pixel-integrated core [m, m] at steps of 1 / oversampling, m = (2 radius + 5) * oversampling."""
    fwhm = at[0]
    finer = max(2, 2 * int(np.ceil(14 / (fwhm * oversampling))))
    cells = oversampling * finer
    side = 2 * radius + 5
    n = (side + 1) * cells
    start = -(side // 2) - 0.5 + 0.5 / cells
    fine = np.empty((n, n))
    profile = _radial_profile(shape.family, shape.beta)
    render.sample_profile(profile, PROFILE_STEP, _parts(shape, *at), start, 1 / cells, fine)
    core = np.empty((side * oversampling, side * oversampling))
    render.pixel_means(fine, cells, finer, core)
    return core


@dataclass(frozen=True)
class TabulatedPsf:
    """The true PSF of a simulated quadrant, pixel-integrated; implements `zsds.core.psf.PsfModel`.

    The PSF at a place is a polynomial in the place of tables that are themselves interpolated
    (cubic) between sub-pixel phases.

    Parameters
    ----------
    tables : ndarray of float32 [n_terms, o, o, n, n]
        PSF at whole-pixel steps for each of o x o phases, for each polynomial term.
    powers : ndarray of int64 [n_terms, 2]
        Exponents of x and y of each term; the first is (0, 0).
    frame : ndarray of float64 [4]
        Origin x, y and scale x, y of the polynomial coordinates, pixels.
    shape : PsfShape
    """

    tables: NDArray[np.float32] = field(repr=False)
    powers: NDArray[np.int64]
    frame: NDArray[np.float64]
    shape: PsfShape

    @property
    def radius(self) -> int:
        """Half-size of the stamps."""
        return (self.tables.shape[3] - 5) // 2

    @property
    def size(self) -> int:
        """Side of the stamps, odd."""
        return 2 * self.radius + 1

    @property
    def wing(self) -> tuple[float, float, float]:
        """(amplitude, core radius, power) of the wings' surface brightness."""
        return _wing(self.shape)

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp [size, size] for image position (x, y); what is missing from 1 lies in the wings outside.

        The star sits at (dx, dy) pixels from the centre of the stamp's middle pixel, up to one pixel off.
        """
        return self._stamp(self._terms(x, y), dx, dy, self.radius)

    def doubled(
        self, x: float, y: float, dx: float = 0.0, dy: float = 0.0, radius: int | None = None
    ) -> NDArray[np.float32]:
        """PSF at steps of half a pixel [4 radius + 1, 4 radius + 1]; its sum is about 4."""
        radius = self.radius if radius is None else radius
        terms = self._terms(x, y)
        out = np.empty((4 * radius + 1, 4 * radius + 1), dtype=np.float32)
        out[::2, ::2] = self._stamp(terms, dx, dy, radius)
        out[1::2, ::2] = self._stamp(terms, dx, dy - 0.5, radius)[:-1]
        out[::2, 1::2] = self._stamp(terms, dx - 0.5, dy, radius)[:, :-1]
        out[1::2, 1::2] = self._stamp(terms, dx - 0.5, dy - 0.5, radius)[:-1, :-1]
        return out

    def _stamp(self, terms: NDArray[np.float64], dx: float, dy: float, radius: int) -> NDArray[np.float32]:
        stamp = np.empty((2 * radius + 1, 2 * radius + 1), dtype=np.float32)
        render.interpolate_stamp(self.tables, terms, float(dx), float(dy), radius, stamp)
        return stamp

    def noise_pixels(self, x: float, y: float) -> float:
        """1 / sum(P**2): the pixels whose sky noise a matched filter gathers, star on a pixel centre."""
        return float(1 / np.sum(self.at(x, y).astype(np.float64) ** 2))

    @cached_property
    def envelope(self) -> NDArray[np.float64]:
        """Largest value at each whole-pixel distance (of the larger coordinate) in the frame's middle."""
        stamp = self.at(self.frame[0], self.frame[1])
        index = np.arange(self.size) - self.radius
        distance = np.maximum(np.abs(index)[:, None], np.abs(index)[None, :])
        largest = np.array([stamp[distance == r].max() for r in range(self.radius + 1)])
        return np.maximum.accumulate(largest[::-1])[::-1]

    def _terms(self, x: float, y: float) -> NDArray[np.float64]:
        u = (x - self.frame[0]) / self.frame[2]
        v = (y - self.frame[1]) / self.frame[3]
        return u ** self.powers[:, 0] * v ** self.powers[:, 1].astype(np.float64)


def _wing(shape: PsfShape) -> tuple[float, float, float]:
    """Amplitude such that the wings hold their fraction of the flux, with core radius and power."""
    amplitude = shape.wing_fraction * (shape.wing_power - 2) / (2 * np.pi * shape.wing_core**2)
    return amplitude, shape.wing_core, shape.wing_power


def _powers(order: int) -> NDArray[np.int64]:
    return np.array([(i, n - i) for n in range(order + 1) for i in range(n, -1, -1)], dtype=np.int64)


def tabulate_psf(
    shape: PsfShape,
    image_shape: tuple[int, int],
    frame: tuple[float, float, float, float] | None = None,
    radius: int | None = None,
    order: int = 2,
    oversampling: int = 8,
) -> TabulatedPsf:
    """Tabulate a PSF over a quadrant.

    Parameters
    ----------
    shape : PsfShape
    image_shape : tuple of int
        (ny, nx) of the quadrant.
    frame : tuple of float, optional
        Where X = Y = 0 lies and how many pixels X = 1 and Y = 1 are; the quadrant's own middle and
        half-sides when not given. Give the focal plane's for PSFs that continue from quadrant to quadrant.
    radius : int, optional
        Half-size of the stamps; default about 9 FWHM, 12 to 48 pixels.
    order : int
        Of the polynomial in position. Shapes that vary are approximated by it: the result is the truth.
    oversampling : int
        Sub-pixel phases per axis.

    Returns
    -------
    TabulatedPsf
        Each PSF in it, wings included, holds a flux of 1.
    """
    ny, nx = image_shape
    frame = frame or ((nx - 1) / 2, (ny - 1) / 2, nx / 2, ny / 2)
    varies = any(shape.fwhm_terms) or any(shape.e1_terms) or any(shape.e2_terms)
    powers = _powers(order if varies else 0)
    radius = radius or int(np.clip(np.ceil(9 * shape.fwhm), 12, 48))
    grid = np.linspace(-1, 1, max(order + 1, 3)) if varies else np.zeros(1)
    u, v = np.meshgrid(
        ((nx - 1) / 2 + grid * nx / 2 - frame[0]) / frame[2],
        ((ny - 1) / 2 + grid * ny / 2 - frame[1]) / frame[3],
    )
    nodes = np.stack(
        [
            _normalised(shape, _sampled(shape, shape.at(x, y), radius, oversampling), radius)
            for x, y in zip(u.ravel(), v.ravel(), strict=True)
        ]
    )
    design = u.ravel()[:, None] ** powers[:, 0] * v.ravel()[:, None] ** powers[:, 1]
    terms = np.tensordot(np.linalg.pinv(design), nodes, axes=1)
    n = 2 * radius + 5
    tables = terms.reshape(len(powers), n, oversampling, n, oversampling).transpose(0, 2, 4, 1, 3)
    return TabulatedPsf(
        np.ascontiguousarray(tables, dtype=np.float32), powers, np.array(frame, dtype=float), shape
    )


def _normalised(shape: PsfShape, core: NDArray[np.float64], radius: int) -> NDArray[np.float32]:
    """Core tapered to zero at the stamp's edge plus the inner wings; the whole PSF has flux 1."""
    oversampling = core.shape[0] // (2 * radius + 5)
    axis = np.arange(core.shape[0]) / oversampling - (radius + 2)
    r = np.hypot(axis[:, None], axis[None, :])
    t = np.clip((r - 0.75 * radius) / (0.25 * radius), 0, 1)
    edge = 1 - t * t * (3 - 2 * t)
    core = core * edge
    core *= (1 - shape.wing_fraction) * oversampling**2 / core.sum()
    amplitude, scale, power = _wing(shape)
    if amplitude > 0:
        core += edge * amplitude * (1 + (r / scale) ** 2) ** (-power / 2)
    return core.astype(np.float32)
