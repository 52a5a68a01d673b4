"""OTLP export bodies, decoded."""
