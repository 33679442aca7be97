"""Where systems come to rest, and how stable they are there."""
