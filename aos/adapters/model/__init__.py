"""Asks an OpenAI-compatible model endpoint. Entry point: `openai_chat.OpenAIChatModel`."""
