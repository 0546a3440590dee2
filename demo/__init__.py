"""The demo model: its checkpoint, its pictures, and how both were made."""
