# syntax=docker/dockerfile:1

# The official Socket.IO client, which the server offers to pages at /socket.io/socket.io.js, and mediasoup-client for the
# demo; npm bundles it after the installation.
FROM node:20-bookworm-slim AS client
WORKDIR /client-demo
COPY client-demo/package.json client-demo/package-lock.json client-demo/.npmrc ./
RUN npm ci --include=dev && npm prune --omit=dev --ignore-scripts
COPY client-demo .

FROM rust:1.95-slim-bookworm AS build
# For the allocator, which is in C.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# All of the workspace: cargo reads the manifest of each member. `.dockerignore` leaves out what is large.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin parlor && cp target/release/parlor /parlor

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home parlor
WORKDIR /app
COPY --from=build /parlor /usr/local/bin/parlor
COPY --from=client /client-demo client-demo
USER parlor
ENV NODE_ENV=production PORT=4000
EXPOSE 4000/tcp 4000/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["parlor", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["parlor"]
