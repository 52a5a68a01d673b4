"""What the benchmarks of production tracing run, in processes of their own."""
