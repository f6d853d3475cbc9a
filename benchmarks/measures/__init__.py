"""What is measured on simulated skies, and the skies."""
