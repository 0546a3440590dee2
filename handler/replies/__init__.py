"""What a client gets: detections or an error, in whatever format it asked for."""
