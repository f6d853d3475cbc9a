"""Frames, units, calibrations, references, coverage, objects, detections, packets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("night", sa.String(length=8), nullable=False),
        sa.Column("band", sa.String(length=2), nullable=False),
        sa.Column("ccd", sa.Integer(), nullable=False),
        sa.Column("quadrant", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("n_frames", sa.Integer(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_calibrations"),
        sa.UniqueConstraint(
            "kind",
            "band",
            "ccd",
            "quadrant",
            "night",
            "version",
            name="uq_calibrations_kind_band_ccd_quadrant_night_version",
        ),
    )
    op.create_table(
        "coverage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=80), nullable=False),
        sa.Column("jd", sa.Float(precision=53), nullable=False),
        sa.Column("band_id", sa.Integer(), nullable=False),
        sa.Column("field", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Integer(), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("diffmaglim", sa.Float(precision=53), nullable=True),
        sa.Column("corners", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_coverage"),
        sa.UniqueConstraint("pid", name="uq_coverage_pid"),
    )
    op.create_table(
        "frames",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("frame_type", sa.String(length=16), nullable=False),
        sa.Column("time", sa.String(length=14), nullable=False),
        sa.Column("start_mjd", sa.Float(precision=53), nullable=False),
        sa.Column("exposure_s", sa.Float(precision=53), nullable=False),
        sa.Column("field", sa.Integer(), nullable=False),
        sa.Column("band", sa.String(length=2), nullable=False),
        sa.Column("band_id", sa.Integer(), nullable=False),
        sa.Column("ccd", sa.Integer(), nullable=False),
        sa.Column("night", sa.String(length=8), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_frames"),
        sa.UniqueConstraint(
            "frame_type", "time", "field", "band", "ccd", name="uq_frames_frame_type_time_field_band_ccd"
        ),
    )
    op.create_index("ix_frames_night_frame_type", "frames", ["night", "frame_type"], unique=False)
    op.create_table(
        "object_counters",
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("year", name="pk_object_counters"),
    )
    op.create_table(
        "objects",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("ra", sa.Float(precision=53), nullable=False),
        sa.Column("dec", sa.Float(precision=53), nullable=False),
        sa.Column("ipix", sa.BigInteger(), nullable=True),
        sa.Column("first_candid", sa.BigInteger(), nullable=False),
        sa.Column("first_jd", sa.Float(precision=53), nullable=False),
        sa.Column("designation", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_objects"),
        sa.UniqueConstraint("designation", name="uq_objects_designation"),
    )
    op.create_index("ix_objects_ipix", "objects", ["ipix"], unique=False)
    op.create_table(
        "reference_images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("field", sa.Integer(), nullable=False),
        sa.Column("band", sa.String(length=2), nullable=False),
        sa.Column("ccd", sa.Integer(), nullable=False),
        sa.Column("quadrant", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rfid", sa.BigInteger(), nullable=False),
        sa.Column("n_frames", sa.Integer(), nullable=False),
        sa.Column("start_mjd", sa.Float(precision=53), nullable=False),
        sa.Column("end_mjd", sa.Float(precision=53), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_reference_images"),
        sa.UniqueConstraint(
            "field",
            "band",
            "ccd",
            "quadrant",
            "version",
            name="uq_reference_images_field_band_ccd_quadrant_version",
        ),
    )
    op.create_table(
        "units",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("night", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Float(precision=53), nullable=True),
        sa.Column("inputs", sa.JSON(), nullable=True),
        sa.Column("settings_hash", sa.String(length=64), nullable=True),
        sa.Column("software", sa.String(length=64), nullable=True),
        sa.Column("started", sa.Float(precision=53), nullable=True),
        sa.Column("seconds", sa.Float(precision=53), nullable=True),
        sa.Column("peak_memory_mb", sa.Float(precision=53), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_units"),
        sa.UniqueConstraint("kind", "key", name="uq_units_kind_key"),
    )
    op.create_index("ix_units_night_kind_state", "units", ["night", "kind", "state"], unique=False)
    op.create_table(
        "coverage_cells",
        sa.Column("cell", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("jd", sa.Float(precision=53), nullable=False),
        sa.Column("coverage_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["coverage_id"], ["coverage.id"], name="fk_coverage_cells_coverage_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cell", "jd", "coverage_id", name="pk_coverage_cells"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_coverage_cells_coverage_id", "coverage_cells", ["coverage_id"], unique=False)
    op.create_table(
        "detections",
        sa.Column("candid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_id", sa.String(length=16), nullable=True),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("jd", sa.Float(precision=53), nullable=False),
        sa.Column("band_id", sa.Integer(), nullable=False),
        sa.Column("field", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Integer(), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("positive", sa.Boolean(), nullable=False),
        sa.Column("ra", sa.Float(precision=53), nullable=False),
        sa.Column("dec", sa.Float(precision=53), nullable=False),
        sa.Column("ipix", sa.BigInteger(), nullable=False),
        sa.Column("snr", sa.Float(precision=53), nullable=False),
        sa.Column("record", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"], name="fk_detections_object_id"),
        sa.PrimaryKeyConstraint("candid", name="pk_detections"),
    )
    op.create_index("ix_detections_ipix_jd", "detections", ["ipix", "jd"], unique=False)
    op.create_index("ix_detections_object_id", "detections", ["object_id"], unique=False)
    op.create_index("ix_detections_pid", "detections", ["pid"], unique=False)
    op.create_table(
        "packets",
        sa.Column("candid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("object_id", sa.String(length=16), nullable=False),
        sa.Column("night", sa.String(length=8), nullable=False),
        sa.Column("program_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["candid"], ["detections.candid"], name="fk_packets_candid"),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"], name="fk_packets_object_id"),
        sa.PrimaryKeyConstraint("candid", name="pk_packets"),
    )
    op.create_index(
        "ix_packets_night_program_id_published", "packets", ["night", "program_id", "published"], unique=False
    )


def downgrade() -> None:
    for table in (
        "packets",
        "detections",
        "coverage_cells",
        "units",
        "reference_images",
        "objects",
        "object_counters",
        "frames",
        "coverage",
        "calibrations",
    ):
        op.drop_table(table)
