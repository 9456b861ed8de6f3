"""Records what is on the wire and in rows, and compares it. Entry point: `every.KINDS`."""
