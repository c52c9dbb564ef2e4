"""What a sweep leaves to be read: report.html, and comparisons of sweeps."""
