"""An OpenAI-compatible endpoint behind the port `ChatModel`. Entry point:
`openai_chat.OpenAIChatModel`."""
