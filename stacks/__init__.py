"""Which functions, ports, topics and databases form a deployment, and the command over them."""
