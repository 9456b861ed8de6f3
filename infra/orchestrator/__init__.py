"""Deploys the templates with checks before and after, and records every run."""
