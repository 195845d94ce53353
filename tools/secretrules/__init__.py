"""Makes the data file of the secret guard from a collection of rules and our own."""
