"""Measurements that anyone can run; each module prints a table and says what it compared."""
