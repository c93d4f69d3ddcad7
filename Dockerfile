# syntax=docker/dockerfile:1
# The server alone, as a user without rights, its cache in a volume:
#   docker build -t airlock .
#   docker run -p 8000:8000 -v airlock-cache:/cache airlock
# Any other verb takes the place of the default one:
#   docker run -v airlock-cache:/cache -v "$PWD/manifests:/manifests:ro" airlock prewarm --cache /cache /manifests

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/airlock /airlock

FROM debian:bookworm-slim
# ca-certificates: to trust the upstream. git, openssh-client: for private registries and packages that
# only git has. curl: for the health check only.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl git openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /cache --shell /usr/sbin/nologin airlock \
    && install -d -o airlock -g airlock /cache
COPY --from=build /airlock /usr/local/bin/airlock
USER airlock
VOLUME /cache
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["airlock"]
CMD ["serve", "--cache", "/cache", "--listen", "0.0.0.0:8000"]
