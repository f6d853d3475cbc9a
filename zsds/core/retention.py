"""How long an archive keeps what it can do without."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RetentionSettings:
    """What `zsds prune` removes, and when; days of the clock."""

    superseded_days: float = 30.0  # versions that were replaced, since then; their rows in the ledger stay
    forced_days: float = 60.0  # fluxes at objects, since the exposure; packets show those of 30 days
    log_days: float = 90.0  # logs, since they were written
    products: tuple[str, ...] = ()  # names of products of quadrants, such as score or residuals
    product_days: float = 365.0  # those products, since the night
