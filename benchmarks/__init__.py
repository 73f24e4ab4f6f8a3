"""Measurements side by side in one run, as ratios; never part of the tests."""
