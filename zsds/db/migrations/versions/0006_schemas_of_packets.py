"""Packets of several schemas in the outbox, each published by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.drop_index("ix_packets_night_program_id_published", "packets")
    with op.batch_alter_table("packets") as packets:
        packets.add_column(sa.Column("schema", sa.String(8), nullable=False, server_default="ztf"))
        packets.drop_constraint("pk_packets", type_="primary")
        packets.create_primary_key("pk_packets", ["candid", "schema"])
    with op.batch_alter_table("packets") as packets:
        packets.alter_column("schema", server_default=None)
    columns = ["night", "schema", "program_id", "published"]
    op.create_index("ix_packets_night_schema_program_id_published", "packets", columns)


def downgrade() -> None:
    op.execute("DELETE FROM packets WHERE schema <> 'ztf'")
    op.drop_index("ix_packets_night_schema_program_id_published", "packets")
    with op.batch_alter_table("packets") as packets:
        packets.drop_constraint("pk_packets", type_="primary")
        packets.create_primary_key("pk_packets", ["candid"])
        packets.drop_column("schema")
    op.create_index("ix_packets_night_program_id_published", "packets", ["night", "program_id", "published"])
