"""``make audit``: what is installed and what is known against it."""
