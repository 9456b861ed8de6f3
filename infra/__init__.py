"""Deploys AOS to Azure and operates it: templates, and the scripts that use them.

The scripts run by path (`python3 infra/deploy.py`) or as modules (`python -m infra.deploy`).
"""
