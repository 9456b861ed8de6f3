"""Serves the console: one static page on which an operator works. Entry point:
`routes.ConsoleRoutes`."""
