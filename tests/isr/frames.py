"""Raw frames with known truth for the tests of the instrumental calibration."""

from dataclasses import dataclass, field, replace

import numpy as np

from zsds.core.camera import Amplifier, Section
from zsds.core.exposure import Exposure, Info
from zsds.core.ids import QuadrantId
from zsds.core.psf import GaussianPsf
from zsds.core.raw import RawCcd, RawQuadrant

NY, NX, COLUMNS = 150, 170, 16


def amplifier(quadrant=1, **changes):
    base = Amplifier(
        quadrant=quadrant,
        extension=quadrant,
        data=Section(0, NX, 0, NY),
        gain=6.2,
        read_noise=9.5,
        saturation_dn=50000.0,
        overscan=Section(NX, NX + COLUMNS, 0, NY),
        stored_shape=(NY, NX + COLUMNS),
    )
    return replace(base, **changes)


def info(quadrant=1, band="zr", mjd=60700.2, exposure_s=30.0, gain=6.2, read_noise=9.5, saturation_dn=5e4):
    return Info(
        QuadrantId("20250125200000", 593, band, 1, quadrant),
        mjd,
        exposure_s,
        2,
        quadrant - 1,
        gain,
        read_noise,
        saturation_dn * gain,
        150.0,
        20.0,
    )


@dataclass
class Truth:
    """The instrument as it is: everything the calibration has to undo."""

    amp: Amplifier = field(default_factory=amplifier)
    ny: int = NY
    nx: int = NX
    seed: int = 1

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        rows, cols = np.mgrid[: self.ny, : self.nx]
        self.level = 1000 + 4 * np.sin(np.arange(self.ny) / 40) + 6 * np.exp(-np.arange(self.ny) / 30)
        self.bias = 1.5 * np.sin(cols / 9) + 0.3 * rng.normal(size=(self.ny, self.nx))
        self.flat = (1 + 0.04 * np.cos(rows / 60) - 0.03 * cols / self.nx) * (
            1 + 0.01 * rng.normal(size=(self.ny, self.nx))
        )
        self.flat /= np.median(self.flat)

    def nonlinear(self, dn):
        """DN as digitised from true DN: the inverse of x / (A x^2 + B x + 1)."""
        a, b = self.amp.linearity
        if a == 0 and b == 0:
            return dn
        x = dn.copy()
        for _ in range(30):
            x = dn * (a * x * x + b * x + 1)
        return x

    def raw(self, electrons, rng, noise=True, crosstalk=0.0, mjd=60700.2, band="zr"):
        """A raw quadrant of a sky of given electrons (a number or an array) before the flat."""
        light = np.broadcast_to(np.asarray(electrons, float) * self.flat, (self.ny, self.nx))
        light = rng.poisson(light).astype(float) if noise else light
        dn = self.nonlinear(light / self.amp.gain) + crosstalk + self.bias
        strip = np.zeros((self.ny, COLUMNS))
        sigma = self.amp.read_noise / self.amp.gain
        dn = dn + rng.normal(0, sigma, dn.shape) * noise
        strip = strip + rng.normal(0, sigma, strip.shape) * noise
        data = np.rint(dn + self.level[:, None]) if noise else dn + self.level[:, None]
        overscan = np.rint(strip + self.level[:, None]) if noise else strip + self.level[:, None]
        data, overscan = np.clip(data, 0, 65535).astype(np.float32), overscan.astype(np.float32)
        data.flags.writeable = overscan.flags.writeable = False
        amp = self.amp
        about = info(amp.quadrant, band, mjd, 30.0, amp.gain, amp.read_noise, amp.saturation_dn)
        return RawQuadrant(data, overscan, about)

    def ccd(self, electrons, rng, frame_type="science", **more):
        return RawCcd({self.amp.quadrant: self.raw(electrons, rng, **more)}, frame_type)


def sky_image(stars=(), fwhm=2.2, sky=600.0, shape=(300, 340), seed=1, read_noise=9.5, saturation=3e5):
    """A calibrated exposure of stars (x, y, electrons) on a flat sky."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    image = np.full(shape, float(sky))
    psf = GaussianPsf(fwhm, 41)
    for x, y, flux in stars:
        j, i = round(x), round(y)
        stamp = flux * psf.at(0, 0, x - j, y - i)
        y0, y1, x0, x1 = max(0, i - 20), min(ny, i + 21), max(0, j - 20), min(nx, j + 21)
        if y0 < y1 and x0 < x1:
            image[y0:y1, x0:x1] += stamp[y0 - i + 20 : y1 - i + 20, x0 - j + 20 : x1 - j + 20]
    return noisy_exposure(np.minimum(image, saturation), rng, read_noise, saturation)


def noisy_exposure(image, rng, read_noise=9.5, saturation=3e5):
    """Exposure of an image of expected electrons with photon and read noise; read-only planes."""
    data = (rng.poisson(image) + rng.normal(0, read_noise, image.shape)).astype(np.float32)
    variance = (np.maximum(data, 0) + read_noise**2).astype(np.float32)
    mask = np.where(image >= saturation, np.uint32(256), np.uint32(0))
    for plane in (data, variance, mask):
        plane.flags.writeable = False
    return Exposure(data, variance, mask, info())


def random_stars(n, rng, shape=(300, 340), low=2.5, high=5.5, margin=22):
    ny, nx = shape
    x, y = rng.uniform(margin, nx - margin, n), rng.uniform(margin, ny - margin, n)
    return list(zip(x, y, 10 ** rng.uniform(low, high, n), strict=True))
