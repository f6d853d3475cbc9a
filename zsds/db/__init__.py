"""The operations database: what is to do, what was done, and what was seen where."""

from zsds.db.database import Database, create_database, open_database

__all__ = ["Database", "create_database", "open_database"]
