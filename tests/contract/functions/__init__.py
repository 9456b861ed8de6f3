"""The local Functions host as a process, on real parts."""
