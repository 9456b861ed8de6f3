"""Trigger in, service, trigger out: errors become statuses and settlements here, once."""
