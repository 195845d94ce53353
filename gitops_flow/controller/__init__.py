"""One process that keeps any number of sources equal to git. It knows no HTTP server."""
