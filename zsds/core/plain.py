"""Python's own values of NumPy's, as JSON and databases take them."""

import math
from collections.abc import Mapping
from typing import Any

_PLAIN = frozenset({str, int, bool, type(None)})


def storable(value: Any) -> Any:
    """NumPy scalars and arrays as Python's own; numbers that are not finite as null."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if hasattr(value, "tolist"):
        return storable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
