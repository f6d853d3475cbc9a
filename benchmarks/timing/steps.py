"""Which functions the stopwatch of the speed benchmark watches, and the budget of each part of a quadrant."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One line of the budget.

    Parameters
    ----------
    name : str
    budget_s : float
        Core-seconds of a full ZTF quadrant of 8000 stars.
    steps : tuple of (step, place)
        See `benchmarks.timing.stopwatch.watched`.
    """

    name: str
    budget_s: float
    steps: tuple[tuple[str, str], ...]


_STORE = "zsds.io.store:Products"
PARTS = (
    Part(
        "read, instrumental calibration, cosmic rays",
        0.9,
        (
            ("read raw", "zsds.runner.science:read_registered"),
            ("read calibrations", "zsds.runner.science:load_calibration"),
            ("reduce", "zsds.isr:reduce_quadrant"),
            ("trails", "zsds.isr:mark_trails"),
            ("halos", "zsds.isr:mark_halos"),
            ("ghosts", "zsds.isr:mark_ghosts"),
            ("cosmic rays", "zsds.isr:mark_cosmic_rays"),
        ),
    ),
    Part(
        "background, detection, PSF model",
        1.2,
        (
            ("background", "zsds.extract:measure_background"),
            ("subtract background", "zsds.extract:subtract_background"),
            ("seeing", "zsds.extract:measure_seeing"),
            ("detection", "zsds.extract:detect_sources"),
            ("PSF model", "zsds.psf:fit_psf"),
        ),
    ),
    Part(
        "PSF and aperture photometry",
        0.7,
        (
            ("star fits", "zsds.photometry:fit_stars"),
            ("apertures", "zsds.photometry:measure_apertures"),
        ),
    ),
    Part(
        "astrometry, photometric calibration",
        0.5,
        (
            ("catalogs", "zsds.runner.science:reference_sky"),
            ("astrometry", "zsds.astrometry:fit_astrometry"),
            ("zero point", "zsds.pipeline.science:tie_to_catalog"),
        ),
    ),
    Part(
        "reference on the science grid",
        0.4,
        (
            ("read reference", "zsds.runner.difference:load_reference"),
            ("sample reference", "zsds.runner.difference:sample_reference"),
        ),
    ),
    Part("subtraction, score, variance", 1.5, (("subtract", "zsds.subtract:subtract"),)),
    Part(
        "candidates, features, fits",
        0.7,
        (
            ("candidates", "zsds.candidates:find_candidates"),
            ("limits and statistics", "zsds.runner.difference:make_difference"),
        ),
    ),
    Part(
        "cross-match, names, history",
        0.5,
        (
            ("solar system", "zsds.runner.difference:predict_positions"),
            ("catalogs again", "zsds.runner.difference:reference_sky"),
            ("cross-match", "zsds.runner.difference:match_neighbours"),
            ("names", "benchmarks.timing.quadrant:run_naming"),
            ("history", "zsds.runner.packets:histories_of"),
            ("forced history", "zsds.runner.packets:forced_histories"),
        ),
    ),
    Part(
        "packets",
        0.2,
        (
            ("cutouts", "zsds.runner.difference:cut_candidates"),
            ("read stamps", "zsds.runner.packets:read_stamps"),
            ("build packets", "zsds.runner.packets:build_packet"),
            ("encode packets", "zsds.runner.packets:encode_packet"),
            ("write packets", "zsds.runner.packets:write_bytes"),
        ),
    ),
    Part(
        "writing products",
        1.4,
        (
            ("write images", f"{_STORE}.save_exposure"),
            ("write score", f"{_STORE}.save_plane"),
            ("write PSF catalog", f"{_STORE}.save_psf_catalog"),
            ("write tables", f"{_STORE}.save_table"),
            ("write metrics", f"{_STORE}.save_json"),
            ("write flux errors", "zsds.runner.difference:write_flux_error"),
            ("write stamps", "zsds.runner.difference:write_stamps"),
            ("read images back", f"{_STORE}.load_exposure"),
            ("read tables back", f"{_STORE}.load_table"),
        ),
    ),
)
BUDGET_S = sum(part.budget_s for part in PARTS)
PLACES = tuple(place for part in PARTS for place in part.steps)
