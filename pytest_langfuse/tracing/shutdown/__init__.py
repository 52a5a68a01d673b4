"""The ways in which a process ends."""
