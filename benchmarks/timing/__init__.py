"""What one quadrant costs, step by step."""
