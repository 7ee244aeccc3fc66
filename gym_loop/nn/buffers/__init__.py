"""What learning agents remember: NumPy arrays, nothing else."""
