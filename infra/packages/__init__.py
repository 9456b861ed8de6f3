"""What is published to each of the three apps, and how is it made?"""
