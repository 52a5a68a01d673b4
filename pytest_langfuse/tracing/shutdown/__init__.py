"""The end of a process: signals, and children without exit handlers."""
