"""Commerce Layer over HTTP: errors, resources, client, and the credentials block."""
