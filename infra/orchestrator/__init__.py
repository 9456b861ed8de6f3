"""How do templates become healthy resources, with nothing done unasked?"""
