"""What AOS is measured beside: `python -m benchmarks peers`."""
