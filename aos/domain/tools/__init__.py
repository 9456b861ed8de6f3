"""Tools and their calls. Entry points: `tool.ToolSchema`, `offer.make_offer`."""
