"""Measurements side by side in one run, as ratios; what was timed is never part of a test."""
