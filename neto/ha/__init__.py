"""Who leads on this host, and proof of it before every act."""
