"""What HTTP adapters share."""
