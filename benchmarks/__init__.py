"""What zsds costs and how exact it is; run by ``make bench``, not part of the package."""
