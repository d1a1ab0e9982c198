"""How many bytes a checkpoint would take, before it is made."""
