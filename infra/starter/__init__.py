"""The generators of the starter data: everything in it is made here, nothing is copied."""
