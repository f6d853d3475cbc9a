"""An open science data system for sky surveys: raw camera images in, alerts out."""

__version__ = "0.1.0"
