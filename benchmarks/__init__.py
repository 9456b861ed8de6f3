"""Measurements that anyone can run. Each module prints a table and says what it compared. Entry
point: `__main__`."""
