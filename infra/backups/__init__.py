"""Saves the state of an environment and restores it: blobs, tables and secrets. Entry
point: `cli`."""
