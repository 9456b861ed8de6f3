"""Deploys AOS to Azure and operates it. The scripts of this folder are the ways in."""
