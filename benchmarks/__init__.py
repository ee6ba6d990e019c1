"""Measurements: `nox -s bench` runs them. Nothing here asserts; the tests assert behaviour, never time."""
