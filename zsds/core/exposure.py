"""One quadrant of one exposure: pixels, variance, mask, and what is known about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.ids import QuadrantId
from zsds.core.psf import PsfModel


@dataclass(frozen=True)
class Info:
    """What is known of an exposure besides its pixels.

    Parameters
    ----------
    id : QuadrantId
    start_mjd : float
        Start of the exposure, UTC.
    exposure_s : float
        Seconds of open shutter.
    band_id : int
        Number of the band (ZTF: 1 g, 2 r, 3 i).
    channel : int
        Readout channel of the camera, from 0 (ZTF's ``rcid``).
    gain : float
        Electrons per DN of the raw frame; products in DN divide by it.
    read_noise : float
        Electrons.
    saturation : float
        Electrons; pixels at or above it are flagged.
    ra, dec : float
        Where the telescope says the boresight pointed, degrees ICRS.
    program_id : int
        0 engineering, 1 public, 2 partnership, 3 private.
    program_pi : str
    airmass : float
        NaN when unknown.
    provenance : mapping
        Software version, settings hash and inputs, as text.
    """

    id: QuadrantId
    start_mjd: float
    exposure_s: float
    band_id: int
    channel: int
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float = float("inf")
    ra: float = float("nan")
    dec: float = float("nan")
    program_id: int = 1
    program_pi: str = ""
    airmass: float = float("nan")
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def mid_mjd(self) -> float:
        """Middle of the exposure, UTC."""
        return self.start_mjd + self.exposure_s / 172800


@dataclass(frozen=True)
class ZeroPoint:
    """Photometric calibration: AB mag = value - 2.5 log10(flux in electrons) + colour_coeff * colour.

    Parameters
    ----------
    value, err : float
        Zero point for colour 0 in the reference catalog's system, and its honest error, mag.
    colour_coeff, colour_err, covariance : float
        Colour term, its error, and the covariance of zero point and colour term.
    rms : float
        Robust scatter of the calibrators about the fit, mag.
    n_stars : int
        Calibrators used.
    colour_median, colour_rms : float
        Of the calibrators.
    median : float
        Zero point for the calibrators' colours: median of catalog minus instrumental magnitudes.
    """

    value: float
    err: float = 0.0
    colour_coeff: float = 0.0
    colour_err: float = 0.0
    covariance: float = 0.0
    rms: float = 0.0
    n_stars: int = 0
    colour_median: float = float("nan")
    colour_rms: float = float("nan")
    median: float = float("nan")


@dataclass(frozen=True)
class Exposure:
    """Pixels in electrons with their variance and mask, all [ny, nx] and frozen together.

    Parameters
    ----------
    data, variance : ndarray of float32 [ny, nx]
        Electrons, electrons squared.
    mask : ndarray of uint32 [ny, nx]
        Bits of `zsds.core.flags.Mask`.
    info : Info
    wcs : astropy.wcs.WCS, optional
        Pixel x is the column, 0 at the centre of the first pixel (origin 0).
    psf : PsfModel, optional
    zero_point : ZeroPoint, optional
    noise_power : ndarray of float64 [n] or [2, n], optional
        Power of the noise along each axis, or along y and along x, at frequencies from 0 to half a cycle a
        pixel, relative to that of independent pixels of ``variance``; None where pixels are independent.

    Raises
    ------
    ValueError
        If shapes or dtypes disagree.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint32]
    info: Info
    wcs: WCS | None = None
    psf: PsfModel | None = None
    zero_point: ZeroPoint | None = None
    noise_power: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name, array, dtype in (
            ("data", self.data, np.float32),
            ("variance", self.variance, np.float32),
            ("mask", self.mask, np.uint32),
        ):
            if array.ndim != 2 or array.shape != self.data.shape:
                raise ValueError(f"{name} has shape {array.shape}, data {self.data.shape}")
            if array.dtype != np.dtype(dtype):
                raise ValueError(f"{name} is {array.dtype}, not {np.dtype(dtype)} in native byte order")

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        ny, nx = self.data.shape
        return ny, nx

    def rows(self, first: int, stop: int) -> "Exposure":
        """Rows ``first`` to ``stop`` without their WCS and PSF; pixels are shared."""
        part = slice(first, stop)
        return Exposure(self.data[part], self.variance[part], self.mask[part], self.info)


class Epoch(Protocol):
    """An exposure whose pixels may be on disk: `Exposure`, or what `zsds.io.images.open_exposure` gives."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        ...

    @property
    def info(self) -> Info:
        """Facts about the exposure."""
        ...

    @property
    def wcs(self) -> WCS | None:
        """Astrometric solution."""
        ...

    @property
    def psf(self) -> PsfModel | None:
        """PSF model."""
        ...

    @property
    def zero_point(self) -> ZeroPoint | None:
        """Photometric calibration."""
        ...

    def rows(self, first: int, stop: int) -> Exposure:
        """Rows ``first`` to ``stop`` without their WCS and PSF."""
        ...
