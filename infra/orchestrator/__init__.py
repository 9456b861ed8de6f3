"""Deploys the templates with checks before and after, and records every run. Entry point:
`deploy_cli`."""
