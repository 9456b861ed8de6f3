"""Two versions of AOS on one state: forward, back, and side by side."""
