"""Indexes for large nights: medians of times without their rows, and what a process holds."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
HELD = sa.text("owner IS NOT NULL")


def upgrade() -> None:
    op.create_index("ix_units_held", "units", ["owner"], sqlite_where=HELD, postgresql_where=HELD)
    op.drop_index("ix_units_night_kind_state", "units")
    op.create_index("ix_units_night_kind_state_seconds", "units", ["night", "kind", "state", "seconds"])


def downgrade() -> None:
    op.drop_index("ix_units_night_kind_state_seconds", "units")
    op.create_index("ix_units_night_kind_state", "units", ["night", "kind", "state"])
    op.drop_index("ix_units_held", "units")
