"""Which functions, sagas, ports and databases form a deployment, and the command over them."""
