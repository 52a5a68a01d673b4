"""Where observations come from: a captured test, a file, an export body, Langfuse's API."""
