"""Where a rung is trained: in this process, or in others."""
