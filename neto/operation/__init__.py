"""What a leader does, cycle after cycle: whether to believe its inputs, how far to go, and when to hold still."""
