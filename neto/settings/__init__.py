"""What operators write: TOML files -> frozen nouns, or every problem at once with file, line and key."""
