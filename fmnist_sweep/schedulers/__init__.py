"""For how many epochs a point is trained, and which trial goes on."""
