"""Passes triggers to the services and turns results and errors into answers. Entry points:
`routes`, `http`, `bus`, `timers`."""
