"""Requests that the application serves: an observation and a context for each."""
