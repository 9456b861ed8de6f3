"""What of an environment is saved, and how does it come back?"""
