"""The sources of observations: a captured test, a file, an export body, Langfuse's API."""
