"""What a run tells while it happens."""
