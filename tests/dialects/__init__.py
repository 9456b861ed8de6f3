"""Stand-ins for model endpoints, each as strict as the one it stands for. Entry point:
`dialects.DIALECTS`."""
