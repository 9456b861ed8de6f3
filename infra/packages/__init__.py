"""Builds the deployment packages of the three apps. Entry point: `cli`."""
