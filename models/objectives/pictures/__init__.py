"""Pictures of outputs as PNG bytes, one file per task; imported only where something is drawn."""
