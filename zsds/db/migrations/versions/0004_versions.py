"""Units in versions: one that is done again keeps what was known of it before."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("units") as units:
        units.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        units.add_column(sa.Column("superseded", sa.Float(precision=53), nullable=True))
        units.drop_constraint("uq_units_kind_key", type_="unique")
        units.create_unique_constraint("uq_units_kind_key_version", ["kind", "key", "version"])
    with op.batch_alter_table("units") as units:
        units.alter_column("version", server_default=None)


def downgrade() -> None:
    op.execute("DELETE FROM units WHERE state = 'superseded'")
    with op.batch_alter_table("units") as units:
        units.drop_constraint("uq_units_kind_key_version", type_="unique")
        units.create_unique_constraint("uq_units_kind_key", ["kind", "key"])
        units.drop_column("superseded")
        units.drop_column("version")
