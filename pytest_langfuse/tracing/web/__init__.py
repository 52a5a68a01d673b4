"""Requests that the application serves: each has an observation and a context."""
