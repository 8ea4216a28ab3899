"""What the tests, the demo, the benchmarks and the torture run have in common."""
