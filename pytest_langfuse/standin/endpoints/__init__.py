"""The endpoints of Langfuse's public API that its SDKs use, one resource a module."""
