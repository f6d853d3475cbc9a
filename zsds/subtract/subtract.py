"""Science minus reference, with the score of a point source in every pixel."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import binary_dilation

from zsds.core.difference import Difference, Registration
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import SOURCES, Mask
from zsds.core.psf import PsfModel, effective_fwhm
from zsds.core.robust import mad_width, median_and_width, variance_per_noise
from zsds.kernels.coverage import find_bits, loud_blocks, mark_edges
from zsds.kernels.fourier import add_stamps, join_masks, rescale
from zsds.psf.mean import centred, mean_psf
from zsds.psf.model import GridPsf, model_knots
from zsds.subtract.match import Match, MatchSettings, match_stars
from zsds.subtract.planes import (
    DISTRUSTED,
    Coverage,
    away_from_changes,
    constant_sky,
    find_coverage,
    find_undefined,
    make_planes,
    sky_level,
    sky_variances,
)
from zsds.subtract.sampling import sampling_error
from zsds.subtract.tiles import Layout, Products, make_layout, score_tiles, subtract_tiles
from zsds.subtract.zogy import Kernels, Node, difference_kernels, noise_transfer

log = logging.getLogger(__name__)
OWN_STRIDE = 7  # every seventh pixel tells how the variance goes with the noise
SHARP_FWHM = 1.8  # pixels; narrower PSFs need three knots a pixel, not two


@dataclass(frozen=True)
class SubtractSettings:
    """How a reference is subtracted."""

    match: MatchSettings = field(default_factory=MatchSettings)
    tile_size: int = 448  # largest tile, pixels; kernels are computed at the tiles' corners
    max_bend: float = 0.02  # smaller tiles where sum(P^2) departs by more from the mean of the corners
    min_tile: int = 96  # but never below this, pixels
    kernel_size: int = 64  # least side of the kernels, even, pixels; 1.4 times the PSFs' when that is more
    background_cell: int = 128  # pixels of a cell of the background difference; 0 leaves it alone
    curvature: float = 0.005  # error of interpolation and PSFs, in units of the Laplacian; 0: no such errors
    saturated_err: float = 1.0  # error of a saturated pixel of the reference, in units of what it holds
    psf_size: int = 31  # side of the difference PSF's stamps, odd
    edge: int = 4  # pixels next to the image's or the reference's edge that are flagged EDGE
    min_overlap: float = 0.05  # part of the image the reference must cover
    normalise: bool = True  # scale the score's noise by the width measured on empty sky
    width_cell: int = 512  # pixels of a cell in which that width is measured


def subtract(
    science: Exposure,
    reference: Exposure,
    settings: SubtractSettings | None = None,
    stars: Table | None = None,
    reference_id: int = 0,
) -> Difference:
    """Proper image subtraction (ZOGY) with kernels that follow the image.

    Parameters
    ----------
    science : Exposure
        Background-subtracted electrons, with ``psf``; ``zero_point`` where known.
    reference : Exposure
        On the same pixels (`zsds.reference.sample_reference`), with ``psf``; in any units.
    settings : SubtractSettings, optional
    stars : Table, optional
        Stars of the science image (x, y, flux) for the flux scale and registration; found when absent.
    reference_id : int
        Recorded in the result (``rfid``); the sampled reference's own when 0.

    Returns
    -------
    Difference
        In science electrons.

    Raises
    ------
    UnusableData
        If the two hardly overlap, or their stars do not match.
    ValueError
        If shapes differ or a PSF is missing.
    """
    settings = settings or SubtractSettings()
    if science.shape != reference.shape:
        raise ValueError(f"science is {science.shape}, reference {reference.shape}")
    if science.psf is None or reference.psf is None:
        raise ValueError("science and reference need a PSF")
    coverage = find_coverage(science, reference)
    overlap = float(coverage.both.mean())
    if overlap < settings.min_overlap:
        raise UnusableData("the reference hardly covers the image", {"overlap": overlap})
    ny, nx = science.shape
    match = match_stars(science, reference, _expected_scale(science, reference), settings.match, stars)
    scale = match.flux_scale.at(nx / 2, ny / 2)
    background = None
    if settings.background_cell:
        constant, noise = constant_sky(science, reference, scale, coverage.both)
        difference = science.data - np.float32(scale) * reference.data
        background = sky_level(difference, constant, coverage.both, noise, 4 * settings.background_cell)
    planes = make_planes(science, reference, coverage, background, _curvature(science, reference, settings))
    largest = max(science.psf.size, reference.psf.size)
    settings = replace(settings, kernel_size=2 * int(np.ceil(max(settings.kernel_size, 1.4 * largest) / 2)))
    settings = replace(settings, tile_size=_tile_size(science, reference, settings))
    layout = make_layout(science.shape, settings.tile_size, settings.kernel_size)
    kernels_at = _kernels_at(science, reference, coverage, match, layout, settings)
    products = subtract_tiles(planes, layout, kernels_at, (match.dx_rms, match.dy_rms), scale)
    _add_clipped_light(products, reference, layout, kernels_at, settings.saturated_err)
    if settings.background_cell:
        fwhm = effective_fwhm(science.psf.at(nx / 2, ny / 2))
        still = away_from_changes(products.difference, coverage.both, fwhm)
        left = sky_level(products.difference, constant, still, noise, settings.background_cell)
        if left is not None:
            np.subtract(products.difference, left, out=products.difference)
    slopes = _own_noise(products.difference, science, reference, coverage.both)
    score_tiles(products, find_undefined(coverage), layout, kernels_at, slopes)
    found = _assemble(
        science, reference, coverage, match, layout, kernels_at, products, settings, reference_id
    )
    return replace(found, own_noise=slopes[0] + slopes[1] * scale**2)


def _curvature(science: Exposure, reference: Exposure, settings: SubtractSettings) -> float:
    """Error of interpolation, PSFs and undersampling, in units of the Laplacian."""
    if settings.curvature == 0 or science.psf is None or reference.psf is None:
        return 0.0
    ny, nx = science.shape
    undersampled = [sampling_error(psf, nx / 2, ny / 2) for psf in (science.psf, reference.psf)]
    return float(np.sqrt(settings.curvature**2 + np.sum(np.square(undersampled))))


def _add_clipped_light(
    products: Products,
    reference: Exposure,
    layout: Layout,
    kernels_at: Callable[[float, float], Kernels],
    relative: float,
) -> None:
    """Add the error of what saturated pixels of the reference have lost, wherever the kernels carry it.

    It is far above all other variances, out of the range of their transforms, so it is added pixel by pixel.
    """
    rows, cols = find_bits(reference.mask, np.uint32(DISTRUSTED))
    known = np.isfinite(reference.data[rows, cols])
    rows, cols = rows[known], cols[known]
    lost = (relative * reference.data[rows, cols]) ** 2
    nodes = np.stack(
        [abs(np.subtract.outer(p, n)).argmin(1) for p, n in zip((cols, rows), layout.nodes, strict=True)]
    )
    for i, j in np.unique(nodes, axis=1).T.tolist():
        here = (nodes[0] == i) & (nodes[1] == j)
        kernels = kernels_at(float(layout.nodes[0][i]), float(layout.nodes[1][j]))
        for plane, kernel in (
            (products.variance, kernels.noise_reference),
            (products.flux_err, kernels.score_noise_reference),
        ):
            add_stamps(plane, rows[here], cols[here], lost[here], kernel**2)


def _own_noise(
    difference: NDArray, science: Exposure, reference: Exposure, both: NDArray[np.bool_]
) -> tuple[float, float]:
    """Variance of each image that goes with an electron of the difference on empty sky."""
    sparse = (slice(None, None, OWN_STRIDE), slice(None, None, OWN_STRIDE))
    used = both[sparse]
    data = difference[sparse][used]
    noise = mad_width(data)
    return (
        variance_per_noise(data, science.variance[sparse][used], noise),
        -variance_per_noise(-data, reference.variance[sparse][used], noise),
    )


def _expected_scale(science: Exposure, reference: Exposure) -> float | None:
    """Flux scale by the zero points, if both are known."""
    if science.zero_point is None or reference.zero_point is None:
        return None
    return float(10 ** (0.4 * (science.zero_point.value - reference.zero_point.value)))


def _tile_size(science: Exposure, reference: Exposure, settings: SubtractSettings) -> int:
    """Side of the largest tile within which the bilinear mean of the corners stands for the PSFs.

    What it misses grows with the square of the side. A PSF too narrow by a share of sum(P^2) makes fluxes
    wrong by up to as much.
    """
    xs, ys = make_layout(science.shape, settings.tile_size, settings.kernel_size).nodes
    bends = [_bend(exposure.psf, xs, ys) for exposure in (science, reference) if exposure.psf is not None]
    shrink = np.sqrt(settings.max_bend / max(*bends, settings.max_bend))
    return max(int(settings.tile_size * shrink), min(settings.min_tile, settings.tile_size))


def _bend(psf: PsfModel, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> float:
    """Largest relative departure of sum(P^2) in the middle of a tile from the mean of its corners."""

    def sharpness(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([[np.sum(psf.at(a, b).astype(float) ** 2) for a in x.tolist()] for b in y.tolist()])

    corners = sharpness(xs, ys)
    mean = (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1]) / 4
    return float(np.abs(mean / sharpness((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2) - 1).max())


def _kernels_at(
    science: Exposure,
    reference: Exposure,
    coverage: Coverage,
    match: Match,
    layout: Layout,
    settings: SubtractSettings,
) -> Callable[[float, float], Kernels]:
    """Function that gives the kernels at a node, each computed once."""
    xs, ys = layout.nodes
    reach = settings.tile_size / 2
    noise_n = np.sqrt(sky_variances(science.variance, coverage.science, xs, ys, reach))
    noise_r = np.sqrt(sky_variances(reference.variance, coverage.reference, xs, ys, reach))
    known: dict[tuple[float, float], Kernels] = {}
    if science.psf is None or reference.psf is None:
        raise ValueError("science and reference need a PSF")
    size = settings.kernel_size
    psfs = tuple(_Levelled(mean_psf(psf, science.shape), xs, ys) for psf in (science.psf, reference.psf))
    noise = noise_transfer(science.noise_power, size), noise_transfer(reference.noise_power, size)

    def kernels_at(x: float, y: float) -> Kernels:
        if (x, y) not in known:
            i, j = int(np.argmin(np.abs(ys - y))), int(np.argmin(np.abs(xs - x)))
            node = Node(
                x,
                y,
                float(noise_n[i, j]),
                float(noise_r[i, j]),
                match.flux_scale.at(x, y),
                match.dx.at(x, y),
                match.dy.at(x, y),
            )
            known[x, y] = difference_kernels(node, psfs, noise, size)
        return known[x, y]

    return kernels_at


def _assemble(
    science: Exposure,
    reference: Exposure,
    coverage: Coverage,
    match: Match,
    layout: Layout,
    kernels_at: Callable[[float, float], Kernels],
    products: Products,
    settings: SubtractSettings,
    reference_id: int,
) -> Difference:
    """Score, masks, PSF and numbers of the finished tiles."""
    mask = _joined_mask(science, reference, coverage, settings.edge)
    ny, nx = science.shape
    cells = measure_widths(products.score, products.flux_err, coverage.both, settings.width_cell)
    metrics = {
        "score_width": float(np.median(cells.width)),
        "score_mean": float(np.median(cells.mean)),
        "flux_scale_rms": match.flux_rms,
        "flux_scale_range": match.flux_scale.range / match.flux_scale.at(nx / 2, ny / 2),
        "flux_scale_excess": match.flux_excess,
        "flux_scale_err": match.flux_error,
        "n_match_stars": float(match.n_stars),
        "overlap": float(coverage.both.mean()),
        "filled": float((~coverage.both & coverage.reference).mean()),
        "tile_px": float(settings.tile_size),
    }
    if settings.normalise:
        factors = np.clip(cells.width, 0.5, 2.0).astype(np.float32)
        rescale(products.score, products.flux_err, cells.rows, cells.cols, factors)
    psf = _difference_psf(science.psf, layout, kernels_at, settings.psf_size)
    metrics["difference_fwhm"] = effective_fwhm(psf.at(nx / 2, ny / 2))
    if not coverage.reference.all():
        for plane in (products.difference, products.variance):
            plane[~coverage.reference] = np.nan
    registration = Registration(
        match.dx.at(nx / 2, ny / 2), match.dy.at(nx / 2, ny / 2), match.dx_rms, match.dy_rms, match.n_stars
    )
    rms = registration.dx_rms, registration.dy_rms
    log.info("subtracted: score width %.3f, registration %.3f %.3f px", metrics["score_width"], *rms)
    return Difference(
        replace(science, data=products.difference, variance=products.variance, mask=mask, psf=psf),
        products.score,
        products.flux_err,
        match.flux_scale.at(nx / 2, ny / 2),
        reference_id or int(reference.info.provenance.get("rfid", 0)),
        registration,
        metrics,
    )


def _joined_mask(science: Exposure, reference: Exposure, coverage: Coverage, edge: int) -> NDArray[np.uint32]:
    mask = np.empty_like(science.mask)
    join_masks(
        science.mask,
        reference.mask,
        np.uint32(SOURCES),
        coverage.reference,
        coverage.both,
        np.uint32(Mask.NO_REFERENCE),
        np.uint32(Mask.FILLED),
        mask,
    )
    if not edge:
        return mask
    bit = np.uint32(Mask.EDGE)
    mask[:edge] |= bit
    mask[-edge:] |= bit
    mask[:, :edge] |= bit
    mask[:, -edge:] |= bit
    mark_edges(coverage.reference, edge, bit, mask)
    return mask


@dataclass(frozen=True)
class Widths:
    """Width and median of the score on empty sky, [my, mx], in cells centred on ``rows`` and ``cols``."""

    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    width: NDArray[np.float64]
    mean: NDArray[np.float64]


def measure_widths(score: NDArray, error: NDArray, both: NDArray[np.bool_], cell: int) -> Widths:
    """Half the central 68 % of the score, and its median, on empty sky in cells of about ``cell`` pixels.

    Empty sky: compared pixels whose flux error is within 12 % of the 30th percentile nearby, so stars take
    no part; nor do pixels within 10 to 20 of a score beyond 5. Cells with little sky count as 1 and 0.
    """
    counts = [max(1, round(n / cell)) for n in score.shape]
    edges = [np.round(np.linspace(0, n, c + 1)).astype(int) for n, c in zip(score.shape, counts, strict=True)]
    width, middle = np.ones(counts), np.zeros(counts)
    for i in range(counts[0]):
        for j in range(counts[1]):
            part = (slice(edges[0][i], edges[0][i + 1]), slice(edges[1][j], edges[1][j + 1]))
            sparse, quiet = _quiet(score[part], error[part], both[part])
            if quiet.sum() >= 300:
                middle[i, j], width[i, j] = median_and_width(sparse[quiet])
    centres = [(edge[:-1] + edge[1:] - 1) / 2 for edge in edges]
    return Widths(centres[0], centres[1], width, middle)


def _quiet(score: NDArray, error: NDArray, both: NDArray[np.bool_]) -> tuple[NDArray, NDArray[np.bool_]]:
    """Every third pixel of the score, and whether it is empty sky: no source, constant or new, nearby."""
    block = 9
    whole = tuple(slice(0, n - n % block) for n in score.shape)
    loud = binary_dilation(loud_blocks(score, block, np.float32(5)))
    sparse = score[whole][::3, ::3]
    known = both[whole][::3, ::3] & np.isfinite(sparse) & ~np.kron(loud, np.ones((3, 3), bool))
    if not known.any():
        return sparse, known
    noise = error[whole][::3, ::3]
    return sparse, known & (noise <= 1.12 * np.percentile(noise[known], 30))


@dataclass(frozen=True)
class _Levelled:
    """A PSF at the nodes of tiles such that the bilinear mean of a tile's corners is right on average.

    Where a PSF bends, the mean of corners h apart is h^2 / 12 times the second derivative too far out. Less
    than half of the error stays, of either sign, and fluxes and stars see none of it on average.
    """

    psf: PsfModel
    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    known: dict[tuple[float, float], NDArray[np.float32]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Side of the stamps."""
        return self.psf.size

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp for the node at (x, y)."""
        if (dx, dy) not in self.known:
            self.known[dx, dy] = self._everywhere(dx, dy)
        stamp: NDArray[np.float32] = self.known[dx, dy][
            np.abs(self.ys - y).argmin(), np.abs(self.xs - x).argmin()
        ]
        return stamp

    def _everywhere(self, dx: float, dy: float) -> NDArray[np.float32]:
        """Stamps at all nodes, [ny, nx, size, size]."""
        stamps = np.array([[self.psf.at(x, y, dx, dy) for x in self.xs.tolist()] for y in self.ys.tolist()])
        levelled = stamps.astype(np.float64)
        for axis, n in enumerate(stamps.shape[:2]):
            if n < 3:
                continue
            bend = np.diff(stamps.astype(np.float64), 2, axis=axis) / 12
            levelled -= np.take(bend, np.clip(np.arange(n), 1, n - 2) - 1, axis=axis)
        return levelled.astype(np.float32)


@dataclass(frozen=True)
class _Smoothed:
    """A PSF as the difference shows it, at one node: convolved with the science image's kernel."""

    psf: PsfModel
    spectrum: NDArray[np.complex64]
    size: int

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp of a source at any sub-pixel place."""
        length, half = self.spectrum.shape[0], self.size // 2
        spectrum = self.spectrum * rfft2(centred(self.psf.at(x, y, dx, dy), length))
        middle = slice(length // 2 - half, length // 2 + half + 1)
        stamp: NDArray[np.float32] = irfft2(spectrum, (length, length))[middle, middle]
        return stamp


def _difference_psf(
    science: PsfModel, layout: Layout, kernels_at: Callable[[float, float], Kernels], size: int
) -> GridPsf:
    """What a source of flux 1 leaves in the difference, between the pixels' centres too.

    P_D is that of a source on a pixel's centre. Where the pixels undersample the science image it says
    nothing about any other, so the science PSF is convolved at each sub-pixel place of the knots.
    """
    xs, ys = layout.nodes
    middle = effective_fwhm(science.at(float(xs.mean()), float(ys.mean())))
    oversampling = 3 if middle < SHARP_FWHM else 2
    levelled = _Levelled(science, xs, ys)
    knots = [
        [
            model_knots(_Smoothed(levelled, rfft2(kernels_at(x, y).science), size), x, y, oversampling)
            for x in xs.tolist()
        ]
        for y in ys.tolist()
    ]
    return GridPsf(np.array(knots, np.float32), xs, ys, size, oversampling)
