"""The command line: what the library knows, for people and for pipes. It computes nothing itself."""
