"""What a run keeps on disk: its directory, its checkpoints, its metrics, its videos."""
