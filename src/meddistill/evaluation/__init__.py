"""Per-case scores, calibration and statistics."""
