# The image of every container of a system: `saga run order.create_order` is a function or saga,
# `saga run order` an adapter. Wheels in wheels/ are used if there are any, for a build without network;
# wherever one comes from, its hash is in the lock.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS dependencies
ARG PIP_NO_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
ENV PIP_FIND_LINKS=/wheels
# What installs has an environment of its own, which stays behind.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/saga
# With [s], a folder that does not exist is no error.
COPY requirements/run.txt wheel[s] /wheels/
# What builds the project is the setuptools of the lock: its lines up to one that does not go on.
RUN awk '/^setuptools==/, !/\\$/' /wheels/run.txt > /wheels/setuptools.txt \
 && /opt/pip/bin/pip install --requirement /wheels/setuptools.txt \
 && /opt/pip/bin/pip --python /opt/saga/bin/python install --no-deps --requirement /wheels/run.txt
# Sanic requires setuptools, 8 MB, and does not import it.
RUN /opt/pip/bin/pip --python /opt/saga/bin/python uninstall --yes setuptools

# Apart from its dependencies, the project is a layer of one megabyte.
FROM dependencies AS project
COPY LICENSE README.md pyproject.toml /source/
COPY functions /source/functions
COPY runtime /source/runtime
COPY http /source/http
COPY stacks /source/stacks
RUN /opt/pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /built /source \
 && /opt/pip/bin/pip --python /opt/saga/bin/python install --no-deps --root /project /built/*.whl
# At a path that does not name Python's version.
RUN cd /project/opt/saga && ln -s lib/python3*/site-packages/saga/runtime/health.py health.py && test -e health.py

FROM ${PYTHON_IMAGE}
# /code is for a deployed artifact, /run/secrets for files named like settings.
RUN groupadd --gid 10001 saga \
 && useradd --uid 10001 --gid saga --home-dir /tmp --no-create-home --no-log-init --shell /usr/sbin/nologin saga \
 && mkdir /code /run/secrets
# Only /tmp need be writable.
ENV PATH=/opt/saga/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV SAGA_HEALTH=/tmp/health SAGA_HOST=0.0.0.0 SAGA_DATA=/tmp/saga
USER 10001:10001
# With -I -S nothing installed is loaded: a check costs milliseconds.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/saga/bin/python", "-I", "-S", "/opt/saga/health.py"]
ENTRYPOINT ["saga"]
ARG VERSION=unknown
LABEL org.opencontainers.image.title="saga-functions" \
      org.opencontainers.image.description="Order sagas over Kafka, built from serverless-style handler functions." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=dependencies /opt/saga /opt/saga
COPY --from=project /project/opt/saga /opt/saga
