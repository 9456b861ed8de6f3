"""Runs and conversations as pure rules from state and input to the next step. Entry points:
`conversation.Conversation`, `advance.find_next_action`."""
