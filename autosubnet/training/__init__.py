"""The reference training that the command line and the benchmarks use; users bring their own loop."""
