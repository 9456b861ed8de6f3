"""Which messages of a topic does a subscription take?"""
