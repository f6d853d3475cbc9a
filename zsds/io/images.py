"""Exposures on disk: image, uncertainty and mask as sister files in DN, tile-compressed, with their PSF.

Pixels are stored as DN = electrons / GAIN, as ZTF's are. Images are quantised in steps of 1/16 of the sky
noise with subtractive dithering (Pence et al. 2010, PASP 122, 1065) and Rice-coded: the variance grows by
(1/16)^2 / 12 = 0.03 %, no flux is biased, and a float takes less than one byte. Uncertainties have steps
of 1/128 of their median. Masks are lossless, and so are images without a usable variance.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.flags import is_defect
from zsds.io.files import opened_fits, write_fits
from zsds.io.headers import Cards, exposure_cards, read_info, read_wcs, read_zero_point, set_cards
from zsds.io.psf import read_psf, write_psf
from zsds.io.tiles import ALL_ROWS, compressed, read_pixels
from zsds.psf import GridPsf

IMAGE_STEPS = 16.0  # quantisation steps per sigma of the sky noise
UNCERTAINTY_STEPS = 128.0  # quantisation steps per median uncertainty
SPARSE = 7  # one of so many rows and columns tells the noise
_FAMILIES = (  # endings of image, uncertainty, mask and PSF files that belong together
    ("scimrefdiffimg", "scimrefdiffunc", "scimrefdiffmsk", "diffimgpsf"),
    ("sciimg", "sciunc", "mskimg", "sciimgdaopsfcent"),
    ("refimg", "refunc", "refmsk", "refpsf"),
    ("hifreqflat", "hifreqflatunc", "hifreqflatmsk", "hifreqflatpsf"),
    ("bias", "biasunc", "biasmsk", "biaspsf"),
)


@dataclass(frozen=True)
class ImageSet:
    """The files of one exposure."""

    image: Path
    uncertainty: Path
    mask: Path
    psf: Path

    @classmethod
    def of(cls, image: Path) -> "ImageSet":
        """The sisters of an image file, by its name; any other ``NAME.fits`` has ``NAME_unc`` and so on."""
        image = Path(image)
        stem, dot, suffix = image.name.partition(".")
        for first, *others in _FAMILIES:
            if stem == first or stem.endswith(f"_{first}"):
                base = stem[: -len(first)]
                names = [base + other for other in others]
                break
        else:
            names = [f"{stem}_unc", f"{stem}_msk", f"{stem}_psf"]
        unc, msk, psf = names
        suffix = dot + (suffix or "fits")
        return cls(
            image,
            image.with_name(unc + suffix),
            image.with_name(msk + suffix),
            image.with_name(psf + ".fits"),
        )


def write_exposure(
    path: Path | ImageSet, exposure: Exposure, cards: Cards | None = None, columns: int | None = None
) -> ImageSet:
    """Write an exposure; the image file itself comes last, so where it stands its sisters do.

    Parameters
    ----------
    path : pathlib.Path or ImageSet
        Image file; its sisters are named after it.
    exposure : Exposure
        Electrons. NaN and infinite pixels are stored as NaN; a variance that is not finite or negative comes
        back infinite.
    cards : mapping, optional
        More header cards (``SEEING``, ``MAGLIM``, ``APCOR1``, …), value or (value, comment).
    columns : int, optional
        Of the tiles of the image: few, where small windows will be read; whole rows by default.

    Returns
    -------
    ImageSet
        The files written; the PSF file only when the exposure has a PSF.

    Raises
    ------
    BadInput
        If the disk refuses.
    """
    files = path if isinstance(path, ImageSet) else ImageSet.of(path)
    header = exposure_cards(exposure, cards)
    to_dn = np.float32(1 / exposure.info.gain)
    with np.errstate(invalid="ignore"):
        sigma = np.sqrt(exposure.variance)
    sigma *= to_dn
    noise = sky_noise(sigma, exposure.mask)
    write_fits(files.mask, mask_hdus(exposure.mask, header))
    write_fits(files.uncertainty, image_hdus(sigma, header, noise / UNCERTAINTY_STEPS))
    if exposure.psf is not None:
        write_psf(files.psf, exposure.psf, exposure.shape, header)
    write_fits(files.image, image_hdus(exposure.data * to_dn, header, noise / IMAGE_STEPS, columns))
    return files


@dataclass(frozen=True)
class StoredExposure:
    """An exposure on disk whose pixels are read when they are wanted, some rows at a time."""

    files: ImageSet
    shape: tuple[int, int]
    info: Info
    wcs: WCS | None
    psf: GridPsf | None
    zero_point: ZeroPoint | None

    def rows(self, first: int, stop: int) -> Exposure:
        """Rows ``first`` to ``stop`` without their WCS and PSF.

        Raises
        ------
        BadInput
            If a file is missing or damaged.
        """
        return _read_pixels(self.files, self.info, None, slice(first, stop))


def open_exposure(path: Path | ImageSet) -> StoredExposure:
    """What `write_exposure` wrote, without its pixels.

    Raises
    ------
    BadInput
        If a file is missing or damaged, or lacks the cards that make it ours.
    """
    files = path if isinstance(path, ImageSet) else ImageSet.of(path)
    header = read_header(files.image)
    info = read_info(header, str(files.image))
    return StoredExposure(
        files,
        (int(header["NAXIS2"]), int(header["NAXIS1"])),
        info,
        read_wcs(header),
        read_psf(files.psf) if files.psf.exists() else None,
        read_zero_point(header, info.gain),
    )


def read_exposure(path: Path | ImageSet, mask: NDArray[np.uint32] | None = None) -> Exposure:
    """Read back what `write_exposure` wrote.

    Parameters
    ----------
    path : pathlib.Path or ImageSet
    mask : ndarray of uint32 [ny, nx], optional
        Stands in for the mask file, which is then not read.

    Raises
    ------
    BadInput
        If a file is missing or damaged, or lacks the cards that make it ours.
    """
    stored = open_exposure(path)
    pixels = _read_pixels(stored.files, stored.info, mask)
    return replace(pixels, wcs=stored.wcs, psf=stored.psf, zero_point=stored.zero_point)


def _read_pixels(
    files: ImageSet, info: Info, mask: NDArray[np.uint32] | None, rows: slice = ALL_ROWS
) -> Exposure:
    data, _ = read_image(files.image, rows)
    sigma, _ = read_image(files.uncertainty, rows)
    mask = read_mask(files.mask, rows) if mask is None else mask
    for name, plane, file in (("uncertainty", sigma, files.uncertainty), ("mask", mask, files.mask)):
        if plane.shape != data.shape:
            raise BadInput(
                str(file), f"{name} is {plane.shape}, image {data.shape}", "make the product again"
            )
    gain = np.float32(info.gain)
    data *= gain
    sigma *= gain
    variance = np.square(sigma, out=sigma)
    variance[np.isnan(variance)] = np.inf
    return Exposure(data, variance, mask, info)


def write_plane(
    path: Path,
    plane: NDArray[np.float32],
    step: float,
    cards: Cards | None = None,
    exposure: Exposure | None = None,
    columns: int | None = None,
) -> None:
    """Write one float plane (a score image) quantised to ``step``; 0 keeps every bit.

    With an exposure on the same pixels its cards and WCS are written as well.
    """
    header = fits.Header() if exposure is None else exposure_cards(exposure)
    header.remove("BUNIT", ignore_missing=True)
    set_cards(header, cards or {})
    write_fits(path, image_hdus(plane, header, step, columns))


def read_image(path: Path, rows: slice = ALL_ROWS) -> tuple[NDArray[np.float32], fits.Header]:
    """Pixels (native float32) of some rows and header of the first HDU that holds an image."""
    with opened_fits(path) as hdus:
        for hdu in hdus:
            if hdu.header.get("NAXIS") == 2 and getattr(hdu, "is_image", False):
                return np.ascontiguousarray(read_pixels(hdu, rows), dtype=np.float32), hdu.header.copy()
    raise BadInput(str(path), "holds no two-dimensional image", "check the file")


def read_header(path: Path) -> fits.Header:
    """Header of the first HDU that holds an image; its pixels are not decompressed."""
    with opened_fits(path) as hdus:
        for hdu in hdus:
            if hdu.header.get("NAXIS") == 2 and getattr(hdu, "is_image", False):
                return hdu.header.copy()
    raise BadInput(str(path), "holds no two-dimensional image", "check the file")


def read_mask(path: Path, rows: slice = ALL_ROWS) -> NDArray[np.uint32]:
    """Mask of 32 bits from its two halves; a mask of ZTF, which has no upper half, is read as well."""
    with opened_fits(path) as hdus:
        halves = [
            read_pixels(hdu, rows).astype(np.int32, copy=False).view(np.uint32)
            for hdu in hdus
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS") == 2
        ]
    if not halves:
        raise BadInput(str(path), "holds no two-dimensional image", "check the file")
    mask: NDArray[np.uint32] = np.bitwise_and(halves[0], np.uint32(0xFFFF), out=halves[0])
    if len(halves) > 1:
        mask |= np.left_shift(halves[1], np.uint32(16), out=halves[1])
    return mask


def image_hdus(
    plane: NDArray[np.float32], header: fits.Header, step: float, columns: int | None = None
) -> fits.HDUList:
    """A float plane as a tile-compressed image in HDU 1, quantised to ``step`` (0: lossless)."""
    return fits.HDUList([fits.PrimaryHDU(), compressed(plane, header, step, columns)])


def mask_hdus(mask: NDArray[np.uint32], header: fits.Header) -> fits.HDUList:
    """Lower 16 bits, those of ZTF's mask images, in HDU 1; the upper 16, ours, in HDU ``UPPER``."""
    low = header.copy()
    low.remove("BUNIT", ignore_missing=True)
    lower = mask.astype(np.uint16).view(np.int16)
    upper = (mask >> np.uint32(16)).astype(np.uint16).view(np.int16)
    upper_hdu = compressed(upper, fits.Header(), 0)
    upper_hdu.name = "UPPER"
    return fits.HDUList([fits.PrimaryHDU(), compressed(lower, low, 0), upper_hdu])


def sky_noise(sigma: NDArray[np.float32], mask: NDArray[np.uint32]) -> float:
    """Median uncertainty of good pixels (of any, when none is good); 0 when none is known."""
    sample, flags = sigma[::SPARSE, ::SPARSE], mask[::SPARSE, ::SPARSE]
    known = np.isfinite(sample) & (sample > 0)
    good = known & ~is_defect(flags)
    chosen = sample[good] if good.any() else sample[known]
    return float(np.median(chosen)) if chosen.size else 0.0
