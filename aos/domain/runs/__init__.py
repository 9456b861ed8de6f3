"""Runs and conversations: pure rules from state and input to the next step. Entry points:
`conversation.Conversation`, `advance`."""
