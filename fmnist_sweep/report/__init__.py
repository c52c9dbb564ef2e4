"""The pages that a sweep leaves: report.html, and comparisons of sweeps."""
