"""Local reference catalogs: Gaia, PS1 and orbits; import, fetch, look-ups."""

from zsds.catalogs.archives import fetch
from zsds.catalogs.store import CatalogStore

__all__ = ["CatalogStore", "fetch"]
