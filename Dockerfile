# syntax=docker/dockerfile:1
# The server alone, as a user without rights, its cache in a volume:
#   docker build -t airlock .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges \
#     -p 8000:8000 -v airlock-cache:/cache airlock
# It writes below /cache only. Any other verb takes the place of the default one:
#   docker run -v airlock-cache:/cache -v "$PWD/manifests:/manifests:ro" airlock prewarm /manifests
# A configuration: -v "$PWD/airlock.toml:/etc/airlock/airlock.toml:ro" -e AIRLOCK_CONFIG=/etc/airlock/airlock.toml
# and `docker kill --signal HUP` has it read again.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/airlock /airlock

FROM debian:bookworm-slim
# ca-certificates: to trust the upstream. git, openssh-client: for private registries and packages that
# only git has.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /cache --shell /usr/sbin/nologin airlock \
    && install -d -o 10001 -g 10001 /cache
COPY --from=build /airlock /usr/local/bin/airlock
# git and ssh keep what they need where there is room to write.
ENV AIRLOCK_CACHE=/cache AIRLOCK_LISTEN=0.0.0.0:8000 HOME=/cache
# A number, so that whoever runs it can see that it is not root.
USER 10001:10001
VOLUME /cache
WORKDIR /cache
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["airlock", "health"]
ENTRYPOINT ["airlock"]
CMD ["serve"]
