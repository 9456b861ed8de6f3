"""Behaviour of the local Functions host, part by part."""
