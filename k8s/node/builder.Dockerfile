# A Rust builder for machines that cannot pull rust: the local base, a C compiler and the host's own toolchain, which
# is the build context.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="todo-chatbot Rust builder" \
      todo-chatbot.image="builder"
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      gcc=4:12.* libc6-dev=2.36-* make=4.3-* ca-certificates=20* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY . /usr/local/
