"""Which process sends a topic, and how far the topic was read back."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "publications",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("cluster", sa.String(length=64), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Float(precision=53), nullable=True),
        sa.Column("offsets", sa.JSON(), nullable=False),
        sa.Column("in_flight", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_publications"),
    )


def downgrade() -> None:
    op.drop_table("publications")
