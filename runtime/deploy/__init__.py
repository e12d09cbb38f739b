"""Deploying: artifacts, where they are kept, and the targets that run them."""
