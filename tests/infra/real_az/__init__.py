"""Does deploy.py understand the real Azure CLI? An optional check, for az is 700 MB."""
