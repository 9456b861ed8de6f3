"""Decides which messages of a topic a subscription takes. Entry point: `rules.Rule`."""
