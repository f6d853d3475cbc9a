"""Settings of the instrumental calibration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class IsrSettings:
    """From raw DN to electrons.

    Parameters
    ----------
    overscan_clip : float
        Overscan pixels further than this many sigma from their row's median are left out.
    overscan_smooth_rows : float
        Sigma of the running linear fit along the rows; 0 takes every row as it is.
    allow_uncalibrated : bool
        Whether a quadrant may be reduced without master calibrations, by its overscan alone.
    min_response : float
        Where the flat is weaker, pixels are flagged, not divided.
    highest_dn : float
        Largest number of the analogue-to-digital converter.
    saturation_fraction : float
        Pixels from this fraction of the amplifier's saturation level count as saturated: full wells differ.
    crosstalk_err : float
        Relative error of the cross-talk coefficients.
    spill_fraction : float
        A bleed is followed along its column while brighter than this fraction of the saturation level.
    bleed_length : int
        Saturated runs along a column at least so long are bleed trails.
    bleed_margin : int
        Pixels marked beyond the ends of saturated runs.
    edge_pixels : int
        Width of the border that is marked EDGE.
    max_saturated, max_bad : float
        Larger fractions of saturated, or of unusable, pixels reject the quadrant.
    """

    overscan_clip: float = 3.5
    overscan_smooth_rows: float = 15.0
    allow_uncalibrated: bool = False
    min_response: float = 0.2
    highest_dn: float = 65535.0
    saturation_fraction: float = 0.97
    crosstalk_err: float = 0.1
    spill_fraction: float = 0.3
    bleed_length: int = 20
    bleed_margin: int = 3
    edge_pixels: int = 2
    max_saturated: float = 0.5
    max_bad: float = 0.5


@dataclass(frozen=True)
class CosmicRaySettings:
    """Which pixels are too sharp to be light.

    Parameters
    ----------
    n_sigma : float
        Significance of the excess over the sharpest star that a pixel needs.
    grow_sigma : float
        The same for neighbours of pixels that have it.
    narrowest : float
        Narrowest star to allow for, as a fraction of the typical width: room for a PSF that is sharper in
        places, or elongated, or no Gaussian.
    slack : float
        The share of the neighbours' light that a star must show is lowered by this fraction of itself: wide
        PSFs, on which rays stand out anyway, may be elongated and peaked.
    iterations : int
        Rounds of growing.
    track_sigma : float
        Brightness of a pixel that belongs to a ray it touches where there is but empty sky around.
    max_chi2 : float
        What the best sum of stars may leave of 5 x 5 pixels around a bright one: noise leaves under 25, and
        more than 40 once in some thousand times.
    cell : int
        Side of the blocks in which the level of the sky is measured, pixels.
    """

    n_sigma: float = 4.5
    grow_sigma: float = 3.0
    narrowest: float = 0.85
    slack: float = 0.25
    iterations: int = 6
    track_sigma: float = 2.5
    max_chi2: float = 40.0
    cell: int = 64


@dataclass(frozen=True)
class TrailSettings:
    """Straight trails of satellites and aircraft.

    Parameters
    ----------
    n_sigma : float
        Significance of the sum along a line.
    min_length : float
        Shortest trail, as a fraction of the image's shorter side; shorter ones may be asteroids.
    min_pixels : float
        Shortest trail in pixels.
    min_chord : float
        Shortest trail, in pixels, that runs from border to border across a corner.
    min_filled : float
        Fraction of the trail's pieces that must be bright by themselves.
    max_trails : int
        Trails looked for in one quadrant.
    width_sigma : float
        The mask reaches to where the trail's mean profile falls below this many sigma of a pixel.
    max_half_width : int
        Widest half-width of the mask, pixels.
    star_radius : float
        Disk left out around saturated stars, times the square root of their saturated area.
    """

    n_sigma: float = 8.0
    min_length: float = 0.3
    min_pixels: float = 150.0
    min_chord: float = 50.0
    min_filled: float = 0.7
    max_trails: int = 8
    width_sigma: float = 0.3
    max_half_width: int = 24
    star_radius: float = 6.0


@dataclass(frozen=True)
class HaloSettings:
    """Halos of very bright stars.

    Parameters
    ----------
    min_saturated : int
        Saturated pixels in one piece from which a star has a halo.
    level_sigma : float
        The halo ends where the median of a ring falls below this many sigma of a pixel above the sky.
    max_radius : int
        Largest radius, pixels.
    radius : int
        If above 0, every halo gets this radius and nothing is measured.
    """

    min_saturated: int = 60
    level_sigma: float = 0.5
    max_radius: int = 370
    radius: int = 0


@dataclass(frozen=True)
class GhostSettings:
    """Ghosts: out-of-focus images of bright stars, reflected by filter or window.

    Parameters
    ----------
    radius : int
        Of the ghosts, pixels; 0 where the camera has none.
    n_sigma : float
        Significance of a predicted ghost's light from which it is marked.
    """

    radius: int = 0
    n_sigma: float = 5.0


@dataclass(frozen=True)
class MasterSettings:
    """Master bias, flat and bad pixels.

    Parameters
    ----------
    min_bias, min_flat : int
        Fewest frames.
    min_dark : int
        Fewest dark frames in which hot pixels are looked for.
    clip : float
        Values further than this many expected sigma from the median of the frames are left out.
    max_bias_step_dn : float
        Bias frames whose level is further than this from that of most are left out.
    max_bias_dn, max_bias_noise : float
        Bias frames further than this from their overscan, or with more than so many times the read noise,
        are refused.
    min_flat_electrons : float
        Flat frames with a lower median are left out.
    max_flat_fraction : float
        Flat frames whose median exceeds this fraction of saturation are left out.
    cell : int
        Side of the blocks that give the smooth response, pixels.
    dead_response, low_response, high_response : float
        Response relative to the smooth one beyond which a pixel is dead, low or high.
    noisy_ratio : float
        Scatter over the frames, in units of the read noise, from which a pixel is noisy (if also
        significant for the number of frames).
    hot_electrons_per_s : float
        Dark current above the typical one from which a pixel is hot (if also significant).
    column_fraction : float
        Columns with a larger fraction of bad pixels are bad altogether.
    max_bad : float
        Larger fractions of bad pixels make the calibration unusable.
    """

    min_bias: int = 3
    min_flat: int = 3
    min_dark: int = 3
    clip: float = 4.0
    max_bias_step_dn: float = 20.0
    max_bias_dn: float = 200.0
    max_bias_noise: float = 3.0
    min_flat_electrons: float = 1000.0
    max_flat_fraction: float = 0.9
    cell: int = 32
    dead_response: float = 0.1
    low_response: float = 0.7
    high_response: float = 1.3
    noisy_ratio: float = 2.0
    hot_electrons_per_s: float = 1.0
    column_fraction: float = 0.3
    max_bad: float = 0.2
