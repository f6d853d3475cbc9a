"""The kernels of a proper subtraction at one place (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27).

Everything is in science electrons: the reference is multiplied by its flux scale f first, so both flux zero
points of the paper are 1. With P_n, P_r the PSFs, s_n, s_r the noise and hats the Fourier transforms,

    D = K_n * N - K_r * R,   K_n^ = P_r^ c / sqrt(Q),   K_r^ = f e^(2 pi i k.d) P_n^ c / sqrt(Q)
    Q = s_n^2 T_n^2 |P_r^|^2 + s_r^2 T_r^2 |P_n^|^2,   c = sqrt(s_n^2 + s_r^2)
    P_D^ = P_n^ K_n^,   S = P_D (correlated with) D

(their equations 13, 14 and 17, D divided by F_D, so that P_D sums to 1 and the noise of D is that of a plain
difference, white). T^2 is the power of an image's noise relative to that of independent pixels, for which the
paper has 1: interpolation leaves less at high frequencies. The registration shift d moves the reference onto
the science image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft, fftshift, irfft2, rfft, rfft2

from zsds.core.psf import PsfModel
from zsds.psf.mean import centred, phase_ramp

# Share of a star's light that is taken to stand on its central pixel: where neither PSF lets anything pass,
# the kernels are those of plain noise, not the ratio of two models' errors, which differs from node to node.
TRACE = 1e-3


@dataclass(frozen=True)
class Node:
    """What a place of the image needs to be subtracted there.

    Parameters
    ----------
    x, y : float
        Pixels.
    science_noise, reference_noise : float
        Standard deviation of empty sky, in the units of each image.
    flux_scale : float
        Science electrons per unit of the reference.
    dx, dy : float
        Where stars of the reference sit, minus where those of the science image sit, pixels.
    """

    x: float
    y: float
    science_noise: float
    reference_noise: float
    flux_scale: float
    dx: float
    dy: float


@dataclass(frozen=True)
class Kernels:
    """Kernels at a node, float32 [n, n], n even, centred on [n // 2, n // 2].

    Parameters
    ----------
    science, reference : ndarray
        K_n and K_r of the difference.
    psf : ndarray
        P_D.
    score_reference : ndarray
        k_r of the score: K_r correlated with P_D.
    noise_science, noise_reference : ndarray
        K_n and K_r with T: their squares carry variances to the difference.
    score_noise_science, score_noise_reference : ndarray
        k_n and k_r with T: the same for the score.
    match : ndarray
        Turns the reference into what the science image would show: fills masked pixels.
    """

    science: NDArray[np.float32]
    reference: NDArray[np.float32]
    psf: NDArray[np.float32]
    score_reference: NDArray[np.float32]
    noise_science: NDArray[np.float32]
    noise_reference: NDArray[np.float32]
    score_noise_science: NDArray[np.float32]
    score_noise_reference: NDArray[np.float32]
    match: NDArray[np.float32]


def difference_kernels(
    node: Node,
    psfs: tuple[PsfModel, PsfModel],
    noise: tuple[NDArray[np.float64], NDArray[np.float64]],
    size: int,
) -> Kernels:
    """Kernels of the difference and the score at a node.

    Parameters
    ----------
    node : Node
    psfs : (PsfModel, PsfModel)
        Of science image and reference.
    noise : (ndarray, ndarray)
        T of both, from `noise_transfer`.
    size : int
        Of the kernels, even and well above the PSFs'.
    """
    psf_n, psf_r = ((rfft2(centred(psf.at(node.x, node.y), size)) + TRACE) / (1 + TRACE) for psf in psfs)
    var_n, var_r = node.science_noise**2, (node.reference_noise * node.flux_scale) ** 2
    power = var_n * np.abs(noise[0] * psf_r) ** 2 + var_r * np.abs(noise[1] * psf_n) ** 2
    root = np.sqrt((var_n + var_r) / power)
    moved = node.flux_scale * phase_ramp(size, node.dx, node.dy)
    kernel_n = psf_r * root
    kernel_r = psf_n * root * moved
    psf_d = psf_n * kernel_n
    score_n, score_r = kernel_n * np.conj(psf_d), kernel_r * np.conj(psf_d)
    wiener = psf_n * np.conj(psf_r) / (np.abs(psf_r) ** 2 + 1e-4) * moved
    window = taper(size)
    return Kernels(
        *(
            (window * fftshift(irfft2(spectrum, (size, size)))).astype(np.float32)
            for spectrum in (
                *(kernel_n, kernel_r, psf_d, score_r),
                *(kernel_n * noise[0], kernel_r * noise[1], score_n * noise[0], score_r * noise[1]),
                wiener * (1 + 1e-4),
            )
        )
    )


def noise_transfer(power: NDArray[np.float64] | None, size: int) -> NDArray[np.float64]:
    """T [size, size // 2 + 1] from the power along each axis at frequencies 0 to 0.5; 1 for None."""
    if power is None:
        return np.ones((size, size // 2 + 1))
    table, axes = np.linspace(0, 0.5, power.shape[-1]), (np.fft.fftfreq(size), np.fft.rfftfreq(size))
    both = np.broadcast_to(power, (2, power.shape[-1]))
    lines = [np.interp(np.abs(f), table, along) for f, along in zip(axes, both, strict=True)]
    return np.sqrt(np.outer(*lines))


def taper(size: int) -> NDArray[np.float64]:
    """1 in the middle of a kernel, falling to 0 at its border as a cosine over the outer 3/8 of its radius.

    K_n and K_r cancel on a star only as periodic functions; cut off, they leave rings at the border's
    distance around stars some 10^4 times brighter than the noise.
    """
    distance = np.abs(np.arange(size) - size // 2) / (size / 2)
    line = 0.5 * (1 + np.cos(np.pi * np.clip((distance - 5 / 8) / (3 / 8), 0, 1)))
    return np.outer(line, line)


def kernel_spectrum(kernel: NDArray, length: int) -> NDArray[np.complex64]:
    """Spectrum of a kernel [n, n] on a tile of ``length`` pixels each way, its corner at [0, 0].

    What is convolved with it moves by the place of the kernel's centre: n // 2 pixels each way.
    """
    rows = rfft(kernel, length, axis=1)  # rows of zeros need no transform
    spectrum: NDArray[np.complex64] = fft(rows, length, axis=0)
    return spectrum
