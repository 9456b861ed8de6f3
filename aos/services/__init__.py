"""The use cases: each knows the ports and the domain, and no other service."""
