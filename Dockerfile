# walferry alone: one static binary, no shell, no root.
#
#   docker build -t walferry .
#   docker run -v data:/data -v ./walferry.yml:/etc/walferry.yml:ro --user "$(id -u)" walferry
#
# The user must be the one that the application runs as: SQLite's files belong to it.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends musl-tools cmake ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /source
COPY . .
RUN target="$(uname -m)-unknown-linux-musl" \
    && export "CC_$(echo "$target" | tr - _)=musl-gcc" \
    && cargo build --release --locked --bin walferry --target "$target" \
    && install -D "target/$target/release/walferry" /image/usr/local/bin/walferry \
    && install -D /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -m 1777 /image/tmp

FROM scratch
COPY --from=build /image /
ENV PATH=/usr/local/bin
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["walferry"]
CMD ["replicate", "-config", "/etc/walferry.yml"]
