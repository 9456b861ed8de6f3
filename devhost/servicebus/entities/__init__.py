"""Has the rules of queues, topics, subscriptions and sessions. Entry point:
`namespace.Namespace`."""
