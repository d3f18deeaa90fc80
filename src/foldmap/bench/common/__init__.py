"""What the benchmarks of all layers share."""
