# One image for every role: `countersign migrate`, `countersign web`, `countersign worker` and the tools.
# tests/rules/test_image.py carries these steps out in a clean folder.
FROM python:3.11-slim AS build
WORKDIR /app
RUN python -m venv .venv
COPY requirements/runtime.txt requirements/
# Wheels only: nothing is compiled, so no stage needs a compiler.
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: --require-hashes -r requirements/runtime.txt
COPY LICENSE pyproject.toml ./
COPY countersign countersign/
COPY store store/
COPY integrations integrations/
COPY commands commands/
COPY automations automations/
COPY bot bot/
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -e ./countersign -e .
RUN .venv/bin/python -m compileall -q countersign store integrations commands automations bot

FROM python:3.11-slim
RUN useradd --system --user-group --uid 10001 --home-dir /data --shell /usr/sbin/nologin countersign
# A fresh named volume takes the owner of the folder it is mounted over.
RUN install -d -o countersign -g countersign -m 0700 /data /web /anchors /artifacts
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    COUNTERSIGN_DATA_DIR=/data \
    COUNTERSIGN_HOST=0.0.0.0
WORKDIR /app
USER countersign
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["countersign"]
CMD ["--help"]
