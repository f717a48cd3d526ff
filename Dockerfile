# syntax=docker/dockerfile:1

# Base images are given by version. To pin one to the bytes that you tested, append its digest, which
# `docker buildx imagetools inspect rust:1.95-slim-bookworm` prints: rust:1.95-slim-bookworm@sha256:…
FROM rust:1.95-slim-bookworm AS build
# For the allocator and the cryptography, which are in C; Node lists the notices of third parties.
RUN apt-get update && apt-get install -y --no-install-recommends make nodejs && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# All of the workspace: cargo reads the manifest of each member. `.dockerignore` leaves out what is large.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin parlor && cp target/release/parlor /parlor && \
    node scripts/third-party.mjs notices > /THIRD-PARTY-NOTICES.md

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home parlor
WORKDIR /app
COPY --from=build /parlor /usr/local/bin/parlor
COPY --from=build /THIRD-PARTY-NOTICES.md LICENSE /usr/share/doc/parlor/
USER parlor
ENV NODE_ENV=production PORT=4000
# TCP for signaling, UDP for the media of large rooms.
EXPOSE 4000/tcp 4000/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["parlor", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["parlor"]
