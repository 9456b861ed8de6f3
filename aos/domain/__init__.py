"""Values and pure rules of AOS, without I/O. Entry points: `runs`, `cards`, `tools`, `envelope`."""
