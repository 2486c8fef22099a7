# The one image: `codekeep controller` and `codekeep serve`. `docker build .` makes it from source.
#
# A binary that is there already is taken as it is, without compiling:
#   docker build --build-arg BINARY_FROM=prebuilt --build-context binary=target/release .
# (or put it into ./binary/codekeep, where the stage `prebuilt` looks when there is no such context).
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=docker.io/library/debian:bookworm-slim
ARG BINARY_FROM=build

FROM ${RUST_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package operator && install -D target/release/codekeep /out/codekeep

FROM scratch AS prebuilt
COPY binary/codekeep /out/codekeep

FROM ${BINARY_FROM} AS binary

FROM ${RUNTIME_IMAGE}
# git packs repositories anew; the rest of Git is in the binary.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
    && groupadd --gid 65532 codekeep \
    && useradd --uid 65532 --gid 65532 --no-create-home --no-log-init --key UID_MAX=65535 --home-dir /nonexistent --shell /usr/sbin/nologin codekeep
COPY --from=binary /out/codekeep /usr/local/bin/codekeep
LABEL org.opencontainers.image.title="codekeep" \
      org.opencontainers.image.description="Private Git repositories on Kubernetes, kept in your own buckets" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/local/bin/codekeep"]
