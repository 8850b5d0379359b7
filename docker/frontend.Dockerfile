# docker build -f docker/frontend.Dockerfile services
# Behind a certificate authority of one's own: --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
ARG BUILDER_IMAGE=rust:1.95-bookworm

FROM ${BUILDER_IMAGE} AS build
ENV CARGO_HOME=/usr/local/cargo CARGO_TARGET_DIR=/target
WORKDIR /services
COPY Cargo.toml Cargo.lock build.sh ./
COPY kit kit
COPY frontend/Cargo.toml frontend/
COPY frontend/src frontend/src
# The caches are the same for all services, so that what they share is compiled once; only one build may use them at
# a time.
RUN --mount=type=cache,id=todo-chatbot-cargo-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=todo-chatbot-target,target=/target,sharing=locked \
    --mount=type=secret,id=ca \
    ./build.sh frontend /out/frontend
ARG USER_ID=10001
ARG USER_NAME=todo
RUN install -d /out/etc \
    && echo "${USER_NAME}:x:${USER_ID}:${USER_ID}::/app:/sbin/nologin" >/out/etc/passwd \
    && echo "${USER_NAME}:x:${USER_ID}:" >/out/etc/group

# What is not compiled: a change of the page alone ends here.
FROM ${BUILDER_IMAGE} AS assets
COPY frontend/assets /out/assets
# As a checkout's files may be closed to others, by its owner's umask.
RUN chmod -R u=rwX,go=rX /out/assets

FROM scratch
ARG PORT=3000
ARG USER_ID=10001
ARG HEALTHCHECK_PATH=/api/health
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="todo-chatbot-frontend" \
      org.opencontainers.image.description="The page, its assets, and the way through to the backend" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/etc /etc
COPY --from=build /out/frontend /app/frontend
COPY --from=assets /out/assets /app/assets
WORKDIR /app
USER ${USER_ID}:${USER_ID}
ENV PORT=${PORT} \
    HEALTHCHECK_PATH=${HEALTHCHECK_PATH}
EXPOSE ${PORT}
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/app/frontend", "healthcheck"]
ENTRYPOINT ["/app/frontend"]
