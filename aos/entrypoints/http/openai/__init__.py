"""Speaks the API of OpenAI: Responses, Conversations, Chat Completions and Models, for clients that
have an SDK of it. Entry point: `door.OpenAIDoor`."""
