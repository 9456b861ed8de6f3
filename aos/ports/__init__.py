"""Declares what the services need from the world: one module for each role. Entry points:
`conversations.ConversationStore`, `bus.Bus`, `model.ChatModel`.

Role-named Protocols of at most five methods. The real ones are in `aos.adapters`, wired by
`aos.bootstrap`; `aos.adapters.memory` has a fake of each, held to the same contract tests. A
method raises `TransientError` when the other side cannot be reached, `OutcomeUnknown` when a write
may or may not have happened, and `StaleWrite` when a condition did not hold.
"""
