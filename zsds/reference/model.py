"""A reference: the constant sky of one field, kept finer than the pixels, and sampled on science grids."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.flags import Mask
from zsds.core.psf import PsfModel
from zsds.kernels.resample import sample_spline
from zsds.psf.model import GridPsf
from zsds.reference.mapping import finer_wcs, map_pixels
from zsds.reference.noise import interpolated_power, resampled_power
from zsds.reference.psf import sample_psf


@dataclass(frozen=True)
class Reference:
    """The constant sky of one field, band and quadrant, on a grid finer than the pixels.

    Parameters
    ----------
    coefficients : ndarray of float32 [my, mx]
        Cubic B-spline coefficients of the co-add, flux per fine pixel.
    variance : ndarray of float32 [my, mx]
        Noise power at low spatial frequencies: sums over apertures have the sum of it as variance, though
        neighbouring pixels are correlated and scatter less.
    mask : ndarray of uint32 [my, mx]
    coverage : ndarray of uint16 [my, mx]
        Epochs that went into each pixel.
    wcs : WCS
        Tangential.
    zero_point : ZeroPoint
        AB magnitude of flux 1.
    info : Info
        Of the deepest epoch; its times and exposure are those of that epoch.
    psf : PsfModel or None
        On the fine grid.
    oversampling : float
    epochs : tuple of str
        Quadrant ids of the epochs.
    start_mjd, end_mjd : float
        Start of the first and end of the last epoch.
    rfid : int
    metrics : mapping
    resampled : bool
        Whether the epochs, one or many, were interpolated; False for a single image on its own pixels, whose
        noise is white.
    """

    coefficients: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint32]
    coverage: NDArray[np.uint16]
    wcs: WCS
    zero_point: ZeroPoint
    info: Info
    psf: PsfModel | None
    oversampling: float
    epochs: tuple[str, ...]
    start_mjd: float
    end_mjd: float
    rfid: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    resampled: bool = True

    @property
    def n_frames(self) -> int:
        """Epochs co-added."""
        return len(self.epochs)

    @property
    def shape(self) -> tuple[int, int]:
        """(my, mx) of the fine grid."""
        my, mx = self.coefficients.shape
        return my, mx

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits that change with any pixel."""
        digest = hashlib.sha256(np.ascontiguousarray(self.coefficients).tobytes())
        digest.update(repr((self.epochs, self.oversampling, self.zero_point.value)).encode())
        return digest.hexdigest()[:12]

    @cached_property
    def exposure(self) -> Exposure:
        """The co-add itself on the fine grid, flux per fine pixel."""
        padded = np.pad(self.coefficients, 1, mode="reflect")
        rows = padded[:-2] / 6 + padded[1:-1] * np.float32(2 / 3) + padded[2:] / 6
        data = rows[:, :-2] / 6 + rows[:, 1:-1] * np.float32(2 / 3) + rows[:, 2:] / 6
        return Exposure(
            data.astype(np.float32), self.variance, self.mask, self.info, self.wcs, self.psf, self.zero_point
        )

    def to_arrays(self) -> dict[str, NDArray]:
        """Everything needed to store the reference, as named arrays (the PSF if it is a `GridPsf`)."""
        header = self.wcs.to_header().tostring()
        arrays: dict[str, Any] = {
            "coefficients": self.coefficients,
            "variance": self.variance,
            "mask": self.mask,
            "coverage": self.coverage,
            "wcs": np.frombuffer(header.encode(), np.uint8),
            "zero_point": np.array([self.zero_point.value, self.zero_point.err, self.zero_point.rms]),
            "numbers": np.array([self.oversampling, self.start_mjd, self.end_mjd, self.rfid]),
            "epochs": np.array(self.epochs, dtype="S"),
        }
        if isinstance(self.psf, GridPsf):
            arrays |= {f"psf_{name}": array for name, array in self.psf.to_arrays().items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], info: Info) -> "Reference":
        """Inverse of `to_arrays`."""
        psf = None
        stored = {
            name.removeprefix("psf_"): array for name, array in arrays.items() if name.startswith("psf_")
        }
        if stored:
            psf = GridPsf.from_arrays(stored)
        value, err, rms = (float(v) for v in arrays["zero_point"])
        numbers = [float(v) for v in arrays["numbers"]]
        return cls(
            coefficients=np.ascontiguousarray(arrays["coefficients"], dtype=np.float32),
            variance=np.ascontiguousarray(arrays["variance"], dtype=np.float32),
            mask=np.ascontiguousarray(arrays["mask"], dtype=np.uint32),
            coverage=np.ascontiguousarray(arrays["coverage"], dtype=np.uint16),
            wcs=WCS(fits.Header.fromstring(bytes(arrays["wcs"]).decode())),
            zero_point=ZeroPoint(value, err, rms=rms),
            info=info,
            psf=psf,
            oversampling=numbers[0],
            epochs=tuple(name.decode() for name in arrays["epochs"].astype("S").tolist()),
            start_mjd=numbers[1],
            end_mjd=numbers[2],
            rfid=int(numbers[3]),
        )


def sample_reference(
    reference: Reference, wcs: WCS, shape: tuple[int, int], psf_spacing: float = 384.0
) -> Exposure:
    """The reference as the pixels of a science image would see it: sampled once, cubic B-spline.

    Parameters
    ----------
    reference : Reference
    wcs, shape : WCS, (ny, nx)
        Of the science image, distortion included.
    psf_spacing : float
        Largest distance between nodes of the PSF, pixels.

    Returns
    -------
    Exposure
        Flux per science pixel in units of the reference's zero point; ``variance`` is the noise power at
        low spatial frequencies, 0 with NO_REFERENCE where nothing is known; ``noise_power`` says what is left
        of it at high ones.
    """
    pixels = map_pixels(wcs, reference.wcs, shape)
    data, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mask = np.empty(shape, np.uint32)
    sample_spline(
        reference.coefficients,
        reference.variance,
        reference.mask,
        pixels.x,
        pixels.y,
        pixels.area,
        pixels.step,
        np.uint32(Mask.NO_REFERENCE),
        data,
        variance,
        mask,
    )
    psf = None if reference.psf is None else sample_psf(reference.psf, pixels, shape, psf_spacing)
    info = replace(reference.info, provenance={**reference.info.provenance, "rfid": str(reference.rfid)})
    if reference.resampled:
        power = resampled_power(reference.oversampling)
    else:
        power = interpolated_power(pixels, shape)
    return Exposure(data, variance, mask, info, wcs, psf, reference.zero_point, power)


def native_grid(reference: Reference) -> tuple[WCS, tuple[int, int]]:
    """The reference's own tangential grid at the scale of the camera's pixels: all that the epochs cover."""
    my, mx = reference.shape
    shape = round(my / reference.oversampling), round(mx / reference.oversampling)
    return finer_wcs(reference.wcs, 1 / reference.oversampling), shape


def native_coverage(reference: Reference) -> NDArray[np.float32]:
    """Epochs at the centre of each pixel of `native_grid`, [ny, nx]."""
    _, shape = native_grid(reference)
    rows, cols = (np.floor((np.arange(n) + 0.5) * reference.oversampling).astype(int) for n in shape)
    my, mx = reference.shape
    coverage: NDArray[np.float32] = reference.coverage[
        np.ix_(np.minimum(rows, my - 1), np.minimum(cols, mx - 1))
    ].astype(np.float32)
    return coverage
