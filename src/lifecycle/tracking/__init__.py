"""Record runs elsewhere, for people to look at: what is true stands in Git, and nothing waits for a server."""
