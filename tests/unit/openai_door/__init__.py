"""OpenAI's API, as its own client sees it, on a world in memory."""
