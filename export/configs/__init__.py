"""A training framework's configuration, read into conventions and into claims about the network."""
