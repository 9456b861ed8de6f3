"""Tests of the door for clients of AG-UI."""
