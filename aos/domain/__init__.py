"""Values and pure rules of AOS; nothing here does I/O."""
