# The one image: `codekeep controller` and `codekeep serve`. `docker build .` makes it from source.
#
# A binary that is there already is taken as it is, without compiling: put it into ./binary/codekeep and type
#   docker build --build-arg BINARY_FROM=prebuilt .
# buildah 1.28 and podman of its age overlook the stage of the default: give them --build-arg BINARY_FROM=build.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=docker.io/library/debian:bookworm-slim
ARG BINARY_FROM=build

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package operator && install -D target/release/codekeep /out/codekeep

FROM scratch AS prebuilt
COPY binary/codekeep /out/codekeep

FROM ${BINARY_FROM} AS compiled

FROM ${RUNTIME_IMAGE}
# git packs repositories anew; the rest of Git is in the binary. Documentation and what apt remembers stay out.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig /var/cache/debconf/* /var/log/apt /var/log/*.log \
        /usr/share/doc/* /usr/share/man/* \
    && groupadd --gid 65532 codekeep \
    && useradd --uid 65532 --gid 65532 --no-create-home --no-log-init --key UID_MAX=65535 --home-dir /nonexistent --shell /usr/sbin/nologin codekeep
COPY --from=compiled /out/codekeep /usr/local/bin/codekeep
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="codekeep" \
      org.opencontainers.image.description="Private Git repositories on Kubernetes, kept in your own buckets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Nothing is written outside the folders that are mounted for it: the root file system may be read-only.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/usr/local/bin/codekeep"]
