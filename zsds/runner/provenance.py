"""What a product was made with: software, settings, inputs."""

from collections.abc import Mapping
from typing import Any

from zsds import __version__
from zsds.core.settings import settings_hash


def provenance(settings: Any, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Texts for a product's header; the same run always gives the same, whatever attempt it is."""
    told = {role: value for role, value in sorted(inputs.items()) if not role.endswith("_attempt")}
    made_from = {f"input_{role}": _name(value) for role, value in told.items() if value is not None}
    return {"software": f"zsds {__version__}", "settings": settings_hash(settings), **made_from}


def _name(value: Any) -> str:
    """A short name: a file without its folder, an id by its parts, a list by its length."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={part}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return f"{len(value)} inputs"
    return str(value).rpartition("/")[2]
