"""The levels: what a weight is rounded to, and how a level is found by name, bits or dialect."""
