"""Sans-IO codecs: bytes or text <-> model. The only place where units change."""
