"""The director's sockets and files: name server, prober, its own HTTP, what it reads."""
