"""Calibrated images of other systems as exposures: what a header gives is taken, the rest left open."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, Info
from zsds.core.flags import Mask, is_defect
from zsds.core.robust import mad_width
from zsds.io.files import opened_fits
from zsds.io.images import read_image, read_mask
from zsds.io.psf import read_psf
from zsds.io.stated import (
    GAIN,
    SATURATION,
    Known,
    readable_cards,
    stated_info,
    stated_mjd,
    stated_number,
    stated_wcs,
    stated_zero_point,
)

NO_GAIN = "not known, 1 electron per DN assumed (--gain sets it)"
NO_TIME = "not known, that of the other image assumed"
SOURCE_SIGMAS = 3.0
CLIPPED_PIXELS = 5  # with the very same highest value: the image was cut off there
CLIPPED_FRACTION = 0.9  # of it counts as saturated: flats and resampling have moved the pixels since
CLIPPED_SIGMAS = 50.0
MOST_LIGHT = 10.0  # times saturation
BLANK = 7  # side in pixels of squares of one value: no sky is so even
LAG = 4  # pixels; noise correlated by resampling reaches less far


def read_calibrated(
    path: Path,
    mask: Path | None = None,
    uncertainty: Path | None = None,
    weight: Path | None = None,
    psf: Path | None = None,
    known: Known | None = None,
    require_wcs: bool = True,
) -> Exposure:
    """A calibrated image of any system, in electrons, with its sky.

    Parameters
    ----------
    path : pathlib.Path
        FITS image in DN, plain, gzip-ed or tile-compressed; the first image found is read.
    mask : pathlib.Path, optional
        A mask with ZTF's bits when it comes from ZTF or zsds; in any other, pixels that are not 0 are bad.
    uncertainty, weight : pathlib.Path, optional
        1-sigma in DN, or inverse variance in 1/DN**2. Without either the variance is the measured scatter of
        the sky plus the photon noise of what stands above it.
    psf : pathlib.Path, optional
        PSF model written by zsds.
    known : Known, optional
        Overrides the header.
    require_wcs : bool
        Whether an image without WCS is an error.

    Returns
    -------
    Exposure
        ``psf`` and ``zero_point`` are None where they must be measured. Without a gain it is taken as 1, so
        that electrons are DN; the variance of the sky is right all the same, since it is measured.

    Raises
    ------
    BadInput
        If a file is missing, damaged, without numbers, WCS or time, or of another shape.
    """
    path, known = Path(path), known or Known()
    if uncertainty is not None and weight is not None:
        raise BadInput(str(weight), "is given beside an uncertainty", "give one of the two")
    data, header = _image(path)
    info = _with_gaps_told(path, header, known, clipped_level(data))
    electrons = _within_range(path, data * np.float32(info.gain), info.saturation)
    planes = {"mask": mask, "uncertainty": uncertainty, "weight": weight}
    given = {name: _plane(file, name, data.shape) for name, file in planes.items() if file is not None}
    return Exposure(
        data=electrons,
        variance=_variance(electrons, info.gain, given, path),
        mask=_flags(electrons, info.saturation, given),
        info=info,
        wcs=stated_wcs(path, header, data.shape, require_wcs),
        psf=None if psf is None else read_psf(psf),
        zero_point=stated_zero_point(header, info.gain, known),
    )


def _with_gaps_told(path: Path, header: fits.Header, known: Known, clipped: float) -> Info:
    """What header and user state of the image; the provenance tells what neither does."""
    stated = stated_number(header, GAIN, known.gain, math.nan, positive=True)
    info = stated_info(path, header, stated if math.isfinite(stated) else 1.0, known, clipped)
    assumed = {} if math.isfinite(stated) else {"gain": NO_GAIN}
    if known.start_mjd is None and stated_mjd(path, header) is None:
        assumed["time"] = NO_TIME
    return replace(info, provenance={**info.provenance, **assumed})


def _within_range(path: Path, electrons: NDArray[np.float32], saturation: float) -> NDArray[np.float32]:
    """No more light than `MOST_LIGHT`, and no number where it is as far below 0: such values spoil sums."""
    if not math.isfinite(saturation):
        return electrons
    limit = np.float32(MOST_LIGHT * saturation)
    if np.nanmedian(np.abs(electrons)) > limit:
        problem = f"most pixels are far beyond the saturation of {saturation:.4g} electrons"
        raise BadInput(str(path), problem, f"put right {SATURATION[0]} in its header, or the gain")
    return np.where(electrons < -limit, np.float32(np.nan), np.minimum(electrons, limit))


def _flags(
    electrons: NDArray[np.float32], saturation: float, given: Mapping[str, NDArray[Any]]
) -> NDArray[np.uint32]:
    flags = given.get("mask", np.zeros(electrons.shape, np.uint32)).copy()
    flags[~np.isfinite(electrons)] |= np.uint32(Mask.NAN)
    flags[electrons >= saturation] |= np.uint32(Mask.SATURATED)
    return flags


def _variance(
    electrons: NDArray[np.float32], gain: float, given: Mapping[str, NDArray[Any]], path: Path
) -> NDArray[np.float32]:
    """Electrons squared, from the given plane or else measured; infinite where nothing is known."""
    sky_variance = _sky_variance(electrons, path)
    if "uncertainty" in given:
        variance = (given["uncertainty"] * np.float32(gain)) ** 2
    elif "weight" in given:
        weight = given["weight"]
        with np.errstate(divide="ignore"):
            variance = np.where(weight > 0, np.float32(gain) ** 2 / weight, np.float32(np.inf))
    else:
        above = electrons - np.float32(np.nanmedian(electrons))
        source = above > SOURCE_SIGMAS * np.sqrt(sky_variance)  # below it the pixel's own noise would decide
        variance = sky_variance + np.where(source, above, np.float32(0))
    known = np.isfinite(electrons) & np.isfinite(variance)
    return np.where(known, variance, np.float32(np.inf)).astype(np.float32)


def _image(path: Path) -> tuple[NDArray[np.float32], fits.Header]:
    """Pixels with NaN for what is not finite, and the image's header over the primary one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        data, header = read_image(path)
        with opened_fits(path) as hdus:
            merged = readable_cards(hdus[0].header)
        merged.update(readable_cards(header))
    finite = np.isfinite(data)
    if not finite.any():
        raise BadInput(str(path), "no pixel holds a number", "use another image")
    return np.where(finite & ~blank_areas(data), data, np.float32(np.nan)), merged


def blank_areas(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels in a square of `BLANK` by `BLANK` of one and the same value: filled in, not observed.

    Resampling and cutting leave zeros beyond the image. Where many pixels share the highest value they are
    saturated, not blank.
    """
    known = np.where(np.isfinite(data), data, np.float32(np.inf))
    highest = known[np.isfinite(known)].max()
    even = (minimum_filter(known, BLANK) == maximum_filter(known, BLANK)) & (known < highest)
    blank: NDArray[np.bool_] = maximum_filter(even, BLANK)
    return blank


def _plane(file: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    plane: NDArray[Any]
    if name == "mask":
        plane = _mask(file)
    else:
        plane, _ = read_image(file)
    if plane.shape != shape:
        raise BadInput(
            str(file), f"the {name} is {plane.shape}, the image {shape}", "give the one that belongs to it"
        )
    if name == "mask" and is_defect(plane).all():
        raise BadInput(str(file), "the mask hides every pixel", "give one that is 0 where pixels are good")
    if name != "mask" and not (plane > 0).any():
        raise BadInput(str(file), f"no pixel of the {name} is above 0", "give the one that belongs to it")
    return plane


def _mask(file: Path) -> NDArray[np.uint32]:
    plane = read_mask(file)
    with opened_fits(file) as hdus:
        known_bits = any(
            "UNITID" in hdu.header
            or "zwicky" in str(hdu.header.get("ORIGIN", "")).lower()
            or "PMASKVN" in hdu.header
            for hdu in hdus
        )
    if known_bits:
        return plane
    return np.where(plane != 0, np.uint32(Mask.DEAD), np.uint32(0))


def _sky_variance(electrons: NDArray[np.float32], path: Path) -> np.float32:
    """Robust variance of the sky, from differences of pixels a few apart: blind to gradients."""
    lag = min(LAG, max(electrons.shape) - 1)
    pairs = (
        electrons[:, lag:] - electrons[:, :-lag] if electrons.shape[1] > lag else np.diff(electrons, axis=0)
    )
    pairs = pairs[np.isfinite(pairs)]
    if pairs.size == 0:
        raise BadInput(str(path), "too few pixels hold numbers", "use another image")
    sigma = mad_width(pairs) / math.sqrt(2)
    if sigma == 0:
        raise BadInput(str(path), "most pixels are equal: no sky noise can be measured", "use another image")
    return np.float32(sigma**2)


def clipped_level(data: NDArray[np.float32]) -> float:
    """The level from which pixels are saturated by the image's own account, DN; infinite where none are.

    Light does not repeat itself: where several pixels far above the sky share the very highest value, the
    converter or a program put it there.
    """
    values = data[np.isfinite(data)]
    if not values.size:
        return math.inf
    highest = float(values.max())
    low, middle = np.percentile(values, [16, 50])
    far = highest > middle + CLIPPED_SIGMAS * (middle - low)
    clipped = far and np.count_nonzero(values == highest) >= CLIPPED_PIXELS
    return CLIPPED_FRACTION * highest if clipped else math.inf
