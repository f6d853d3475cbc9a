"""Forced fluxes of objects in difference images."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "forced_fluxes",
        sa.Column("object_id", sa.String(length=16), nullable=False),
        sa.Column("jd", sa.Float(precision=53), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=16), nullable=False),
        sa.Column("flux", sa.Float(precision=53), nullable=True),
        sa.Column("flux_err", sa.Float(precision=53), nullable=True),
        sa.Column("bad_fraction", sa.Float(precision=53), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("nearest", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"], name="fk_forced_fluxes_object_id"),
        sa.PrimaryKeyConstraint("object_id", "jd", "pid", name="pk_forced_fluxes"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("forced_fluxes")
