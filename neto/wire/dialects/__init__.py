"""One file per router dialect: what is said to a router, and what it says back."""
