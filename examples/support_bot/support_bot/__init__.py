"""A customer support bot: a FastAPI service whose every answer is a trace in Langfuse."""

__version__ = "1.4.0"
