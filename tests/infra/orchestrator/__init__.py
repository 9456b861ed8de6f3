"""Tests that deploy.py does what the deployment plan says, whatever az answers."""
