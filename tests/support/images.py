"""What stands in for images of others that no test can fetch: `tests/docker/images` builds them."""

# For docker-compose.yml. Under names of their own: nobody ever takes one for the real image.
STAND_INS = {"KAFKA_IMAGE": "saga-test/kafka", "POSTGRES_IMAGE": "saga-test/postgres"}
