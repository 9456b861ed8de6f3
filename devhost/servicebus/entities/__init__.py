"""What are the rules of queues, topics, subscriptions and sessions?"""
