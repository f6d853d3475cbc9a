"""Data and recipes shipped with zsds; read them through zsds.resources."""
