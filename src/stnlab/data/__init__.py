"""Images and poses."""
