"""An optional check that deploy.py understands the real Azure CLI, which has 700 MB."""
