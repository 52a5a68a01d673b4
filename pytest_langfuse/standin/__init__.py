"""A Langfuse that lives in this process, and on a socket: it answers what the SDKs ask."""
