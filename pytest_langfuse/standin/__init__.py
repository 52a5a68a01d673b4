"""The stand-in Langfuse: it answers the requests of the SDKs, in the process or on a socket."""
