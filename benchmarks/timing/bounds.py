"""The least time a step can take: its planes through memory once, and its transforms."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Least:
    """What a step cannot do without.

    Parameters
    ----------
    planes : float
        Planes of the quadrant, four bytes a pixel, that it must read or write at least once: what it is
        given and what it returns, nothing in between. Code of compressed files is not in it.
    transforms : int
        Real Fourier transforms of the whole quadrant, one way each.
    """

    planes: float
    transforms: int = 0

    def seconds(self, floors: Mapping[str, float], share: float = 1.0) -> float:
        """At the measured speed of memory and of transforms (`benchmarks.machine.machine_facts`).

        ``share`` is the quadrant's size in pixels over that of the planes whose floors were measured.
        """
        plane_s = floors["memory_pass_s"] / 2  # a pass reads one plane and writes one
        transform_s = (floors["rfft2_s"] + floors["irfft2_s"]) / 2
        return share * (self.planes * plane_s + self.transforms * transform_s)


FINER = 1.5**2  # pixels of a reference for one of the quadrant's
EXPOSURE = 3  # planes: data, variance, mask

# By the step's name in `benchmarks.timing.steps`; steps that touch no whole plane have none.
LEAST = {
    "read raw": Least(4 * (1 + 0.25)),  # all quadrants of the CCD, from about a byte a pixel
    "read calibrations": Least(5),  # bias and flat with their errors, and a mask
    "reduce": Least(4 + 5 + EXPOSURE),  # cross-talk looks at all four quadrants
    "trails": Least(2),
    "halos": Least(2),
    "cosmic rays": Least(EXPOSURE),
    "background": Least(2),
    "subtract background": Least(2),
    "detection": Least(EXPOSURE + 1),
    "star fits": Least(2),
    "apertures": Least(2),
    "read reference": Least(EXPOSURE * FINER),
    "sample reference": Least(EXPOSURE * FINER + EXPOSURE),
    # Science and reference in; difference, variance, score, flux error and mask out. Transforms: both images
    # and both variances; difference, score, their variances, and the reference as the score sees it.
    "subtract": Least(2 * EXPOSURE + 5, 9),
    "candidates": Least(2),
    "limits and statistics": Least(2 * EXPOSURE + 1),
    "write images": Least(2 * EXPOSURE),
    "write score": Least(1),
    "read images back": Least(EXPOSURE),
}
