# docker build -f docker/frontend-static.Dockerfile services
# The frontend's page served by nginx instead of the Rust frontend.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS builder
WORKDIR /build
COPY frontend/assets assets
# As the page names them: itself at /, the rest below /assets. Compressed here once rather than with each answer.
RUN install -d dist/assets \
    && mv assets/index.html dist/ \
    && mv assets/* dist/assets/ \
    && find dist -type f -exec gzip --keep --best --no-name {} + \
    && chmod -R a+rX dist

FROM ${BASE_IMAGE} AS runtime
ARG USER_ID=101
ARG USER_NAME=nginx
ARG DEBIAN_FRONTEND=noninteractive
# The user comes first, so that no package takes the number. The links are for what nginx opens before it reads its
# configuration.
RUN groupadd --gid ${USER_ID} ${USER_NAME} \
    && useradd --uid ${USER_ID} --gid ${USER_ID} --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        ${USER_NAME} \
    && apt-get update \
    && apt-get install -y --no-install-recommends nginx=1.22.* \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/www/html /usr/share/nginx/html/* /etc/nginx/sites-* \
    && ln -sf /dev/stderr /var/log/nginx/error.log \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
ARG PORT=80
ARG HEALTHCHECK_PATH=/
ARG VITE_API_BASE_URL=http://todo-chatbot-backend:8000
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="todo-chatbot-frontend-static" \
      org.opencontainers.image.description="The page and its assets from nginx, and the way through to the backend" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY frontend/nginx/nginx.conf /etc/nginx/nginx.conf
COPY --chmod=0755 frontend/nginx/entrypoint.sh /docker-entrypoint.sh
COPY --from=builder /build/dist /usr/share/nginx/html
WORKDIR /usr/share/nginx/html
USER ${USER_ID}:${USER_ID}
ENV PORT=${PORT} \
    HEALTHCHECK_PATH=${HEALTHCHECK_PATH} \
    VITE_API_BASE_URL=${VITE_API_BASE_URL}
EXPOSE ${PORT}
# On SIGTERM nginx would drop what it is answering.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET %s HTTP/1.0\\r\\n\\r\\n' \"$HEALTHCHECK_PATH\" >&3 && read -r _ status _ <&3 && [[ $status == 2?? ]]"]
ENTRYPOINT ["/docker-entrypoint.sh"]
CMD ["nginx", "-g", "daemon off;"]
