"""Epochs that nobody outside their program may see, as the archive knows now.

A packet tells of its epochs' programs what was known when it was made. When the header of a frame is
corrected afterwards, and the frame registered again, packets of other exposures still show it as it was.
"""

from collections.abc import Collection, Mapping
from typing import Any

from zsds.core.errors import BadInput
from zsds.core.programs import pids_in, programs_in, programs_shown
from zsds.db.programs import programs_of
from zsds.runner.archive import Archive


class Embargo:
    """What may not be seen by those who may see one program; what was looked up is remembered.

    Parameters
    ----------
    archive : Archive
    program_id : int
    """

    def __init__(self, archive: Archive, program_id: int) -> None:
        self.archive, self.shown = archive, programs_shown(program_id)
        self._hidden: dict[int, bool] = {}

    def learn(self, pids: Collection[int]) -> None:
        """Look up some quadrants at once, by processing id."""
        unknown = sorted(set(pids) - set(self._hidden))
        if unknown:
            with self.archive.database.read() as connection:
                found = programs_of(connection, unknown)
            self._hidden |= {pid: not found.get(pid, frozenset()) <= self.shown for pid in unknown}

    def hides(self, pids: Collection[int]) -> bool:
        """Whether any of some quadrants is not to be seen."""
        self.learn(pids)
        return any(self._hidden[pid] for pid in pids)

    def allows(self, record: Mapping[str, Any]) -> bool:
        """Whether an alert record may be seen, by what it says itself and by what is known now."""
        return programs_in(record) <= self.shown and not self.hides(pids_in(record))


def closed(source: str) -> BadInput:
    """What to tell of a packet that shows what it may not any more."""
    return BadInput(
        source, "shows an epoch that is proprietary now", "make it again with: zsds reprocess --from packets"
    )
