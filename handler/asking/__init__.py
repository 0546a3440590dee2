"""What the command asks a server and how; the standard library only, so that it runs on any Python."""
