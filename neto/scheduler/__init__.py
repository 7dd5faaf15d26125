"""A plan becomes tasks per device, in order, under constraints, with a barrier after each step."""
