"""Which units of some nights a run is about."""

from dataclasses import dataclass

from zsds.core.ids import QuadrantId

KINDS = ("calibration", "science", "reference", "difference", "packets")  # of units, in the order of work
QUADRANT_STEPS = ("science", "difference", "packets")  # units of each quadrant of each exposure
STEPS = ("calibration", *QUADRANT_STEPS)  # of a night


@dataclass(frozen=True)
class Scope:
    """Which quadrants, and which of their units.

    Parameters
    ----------
    field, ccd, quadrant : int, optional
        Only this one; all by default.
    first : str
        One of `STEPS`; units of the steps before stay as they are.
    again : bool
        Whether to redo what is done although nothing changed.
    """

    field: int | None = None
    ccd: int | None = None
    quadrant: int | None = None
    first: str = STEPS[0]
    again: bool = False

    def has_channel(self, ccd: int, quadrant: int) -> bool:
        """Whether it is about a quadrant of the camera."""
        return self.ccd in (None, ccd) and self.quadrant in (None, quadrant)

    def has(self, identifier: QuadrantId) -> bool:
        """Whether it is about a quadrant of an exposure."""
        return self.field in (None, identifier.field) and self.has_channel(*identifier.channel)

    def makes(self, kind: str) -> bool:
        """Whether it is about units of a step."""
        return STEPS.index(kind) >= STEPS.index(self.first)


EVERYTHING = Scope()
