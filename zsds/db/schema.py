"""Tables of the operations database. Each change needs a migration; a test compares the two."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0006"  # of the newest migration
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Real = Float(53)

frames = Table(
    "frames",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("frame_type", String(16), nullable=False),
    Column("time", String(14), nullable=False),
    Column("start_mjd", Real, nullable=False),
    Column("exposure_s", Real, nullable=False),
    Column("field", Integer, nullable=False),
    Column("band", String(2), nullable=False),
    Column("band_id", Integer, nullable=False),
    Column("ccd", Integer, nullable=False),
    Column("night", String(8), nullable=False),
    Column("program_id", Integer, nullable=False),
    UniqueConstraint("frame_type", "time", "field", "band", "ccd"),
    Index(None, "night", "frame_type"),
)

units = Table(
    "units",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("key", String(80), nullable=False),
    Column("version", Integer, nullable=False),
    Column("night", String(8), nullable=False),
    Column("state", String(24), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("owner", Text),
    Column("lease_until", Real),
    Column("inputs", JSON),
    Column("settings_hash", String(64)),
    Column("software", String(64)),
    Column("started", Real),
    Column("seconds", Real),
    Column("peak_memory_mb", Real),
    Column("reason", Text),
    Column("metrics", JSON),
    Column("superseded", Real),  # when the next version was begun, seconds of the Unix clock
    UniqueConstraint("kind", "key", "version"),
    Index(None, "night", "kind", "state", "seconds"),
    Index(
        "ix_units_held",
        "owner",
        sqlite_where=text("owner IS NOT NULL"),
        postgresql_where=text("owner IS NOT NULL"),
    ),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("night", String(8), nullable=False),
    Column("band", String(2), nullable=False),
    Column("ccd", Integer, nullable=False),
    Column("quadrant", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("n_frames", Integer, nullable=False),
    Column("inputs", JSON),
    UniqueConstraint("kind", "band", "ccd", "quadrant", "night", "version"),
)

references = Table(
    "reference_images",  # "references" is a word of SQL
    metadata,
    Column("id", Integer, primary_key=True),
    Column("field", Integer, nullable=False),
    Column("band", String(2), nullable=False),
    Column("ccd", Integer, nullable=False),
    Column("quadrant", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("rfid", BigInteger, nullable=False),
    Column("n_frames", Integer, nullable=False),
    Column("start_mjd", Real, nullable=False),
    Column("end_mjd", Real, nullable=False),
    Column("inputs", JSON),
    UniqueConstraint("field", "band", "ccd", "quadrant", "version"),
)

coverage = Table(
    "coverage",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pid", BigInteger, nullable=False, unique=True),
    Column("unit", String(80), nullable=False),
    Column("jd", Real, nullable=False),
    Column("band_id", Integer, nullable=False),
    Column("field", Integer, nullable=False),
    Column("channel", Integer, nullable=False),
    Column("program_id", Integer, nullable=False),
    Column("diffmaglim", Real),
    Column("corners", JSON, nullable=False),  # [[ra, dec], ...] in order around the footprint
    Column("record", JSON),
)

coverage_cells = Table(
    "coverage_cells",
    metadata,
    Column("cell", Integer, primary_key=True, autoincrement=False),
    Column("jd", Real, primary_key=True),
    Column(
        "coverage_id", Integer, ForeignKey("coverage.id", ondelete="CASCADE"), primary_key=True, index=True
    ),
    sqlite_with_rowid=False,
)

objects = Table(
    "objects",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("ra", Real, nullable=False),
    Column("dec", Real, nullable=False),
    Column("ipix", BigInteger),  # null for a moving object, which has no place to be found at
    Column("first_candid", BigInteger, nullable=False),
    Column("first_jd", Real, nullable=False),
    Column("designation", String(40), unique=True),
    Index(None, "ipix"),
)

object_counters = Table(
    "object_counters",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)

detections = Table(
    "detections",
    metadata,
    Column("candid", BigInteger, primary_key=True, autoincrement=False),
    Column("object_id", String(16), ForeignKey("objects.id"), index=True),
    Column("pid", BigInteger, nullable=False, index=True),
    Column("jd", Real, nullable=False),
    Column("band_id", Integer, nullable=False),
    Column("field", Integer, nullable=False),
    Column("channel", Integer, nullable=False),
    Column("program_id", Integer, nullable=False),
    Column("positive", Boolean, nullable=False),
    Column("ra", Real, nullable=False),
    Column("dec", Real, nullable=False),
    Column("ipix", BigInteger, nullable=False),
    Column("snr", Real, nullable=False),
    Column("record", JSON),
    Index(None, "ipix", "jd"),
)

packets = Table(
    "packets",
    metadata,
    Column("candid", BigInteger, ForeignKey("detections.candid"), primary_key=True, autoincrement=False),
    Column("schema", String(8), primary_key=True),  # ztf or zsds: each has its file, and goes out by itself
    Column("object_id", String(16), ForeignKey("objects.id"), nullable=False),
    Column("night", String(8), nullable=False),
    Column("program_id", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("published", Boolean, nullable=False),
    Index(None, "night", "schema", "program_id", "published"),
)

forced_fluxes = Table(
    "forced_fluxes",
    metadata,
    Column("object_id", String(16), ForeignKey("objects.id"), primary_key=True),
    Column("jd", Real, primary_key=True),
    Column("pid", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(16), nullable=False),  # of the difference image that was measured
    Column("flux", Real),
    Column("flux_err", Real),
    Column("bad_fraction", Real, nullable=False),
    Column("status", Integer, nullable=False),
    Column("nearest", JSON),
    sqlite_with_rowid=False,
)

publications = Table(
    "publications",
    metadata,
    Column("topic", String(249), primary_key=True),
    Column("cluster", String(64)),
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    Column("lease_until", Real),
    Column("offsets", JSON, nullable=False),  # of each partition: the first message not yet read back
    Column("in_flight", JSON, nullable=False),  # candids that were being sent, and may have gone out or not
)
