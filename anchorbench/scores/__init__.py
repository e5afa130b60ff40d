"""What metrics are built from: pure functions from arrays to numbers."""
