"""What goes to one topic: packets of one schema, of a night and a program."""

from dataclasses import dataclass

ZTF_SCHEMA = "ztf"  # the packets that every reader of ZTF's stream reads
OWN_SCHEMA = "zsds"
SCHEMAS = (ZTF_SCHEMA, OWN_SCHEMA)


@dataclass(frozen=True)
class Stream:
    """Packets that belong together wherever they are sent or packed.

    Parameters
    ----------
    prefix : str
        Of the camera.
    night : str
        ``YYYYMMDD``.
    program_id : int
    schema : str
        One of `SCHEMAS`.
    """

    prefix: str
    night: str
    program_id: int
    schema: str = ZTF_SCHEMA

    @property
    def topic(self) -> str:
        """Kafka topic: ``ztf_20260115_programid1``, or ``zsds_ztf_20260115_programid1`` for our schema.

        The schema comes first, so that patterns such as ``^ztf_.*_programid1$`` find packets of ZTF's alone.
        """
        before = "" if self.schema == ZTF_SCHEMA else f"{self.schema}_"
        return f"{before}{self.prefix}_{self.night}_programid{self.program_id}"


def public_topics(schema: str) -> str:
    """Pattern of the public topics of all cameras and nights."""
    before = "" if schema == ZTF_SCHEMA else f"{schema}_"
    return f"^{before}[a-z0-9]+_[0-9]{{8}}_programid1$"
