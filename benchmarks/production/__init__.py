"""The processes that the benchmarks of production tracing run."""
