"""Tests the ChatModel port on an OpenAI-compatible endpoint."""
