"""Asks the whole laptop while its processes die: `make chaos`. Entry point: `__main__.main`."""
