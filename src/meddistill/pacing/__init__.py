"""Difficulty scores, thresholds from histograms, and schedules that open a curriculum."""
