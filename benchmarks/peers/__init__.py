"""Public programs on the same pixels."""
