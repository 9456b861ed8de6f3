"""The door of A2A 1.0, on a world in memory."""
