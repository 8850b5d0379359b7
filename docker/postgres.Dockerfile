# docker build -f docker/postgres.Dockerfile docker/postgres
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS base
RUN groupadd --gid 10001 postgres \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/postgresql --shell /usr/sbin/nologin postgres \
    # Nobody in here has use for another's rights.
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

FROM base AS packages
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG DEBIAN_FRONTEND=noninteractive
# The common package comes before the server, which would otherwise make a cluster at once.
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-common=248* \
    && echo "create_main_cluster = false" >>/etc/postgresql-common/createcluster.conf \
    && apt-get install -y --no-install-recommends postgresql-15=15.* \
    && rm -rf /var/lib/apt/lists/*
# What the server needs, and not Perl, nor the compiler for queries, three quarters of the whole and of no use to small
# ones: the entry point turns it off. ldd fails for what is no program, a text for instance; it may
# name libraries by the link /lib.
WORKDIR /tree
RUN rm -rf /usr/lib/postgresql/15/lib/bitcode /usr/lib/postgresql/15/lib/llvmjit* \
    && cp -a --parents /usr/lib/postgresql/15 /usr/share/postgresql/15 /usr/share/postgresql-common /usr/share/zoneinfo \
        /usr/share/doc/postgresql-15/copyright . \
    && { find /usr/lib/postgresql/15 -type f -exec ldd {} + 2>/dev/null || true; } \
        | sed -n 's|.* => \(/usr\)\{0,1\}\(/[^ ]*\) .*|/usr\2|p' | sort -u | xargs cp -L --parents --target-directory=. \
    && find . -type d -exec chmod 0755 {} + \
    && install -d -o 10001 -g 10001 -m 0700 var/lib/postgresql/data \
    && install -d -o 10001 -g 10001 -m 1777 run/postgresql
# Which packages these files come from, for scanners: their entries of dpkg's list, in place of or after those of the base.
COPY --from=base /var/lib/dpkg/status /tmp/base
RUN { find . -type f -printf '/%P\n' | sed 'p; s|^/usr/lib/|/lib/|' | xargs dpkg --search 2>/dev/null || true; } \
        | sed 's|: /.*||; s|, |\n|g' | sed 's|:.*||' | sort -u >/tmp/names \
    && grep -qx postgresql-15 /tmp/names \
    && install -d var/lib/dpkg \
    && awk -v RS= -v ORS='\n\n' 'NR == 1 { for (i = 1; i <= NF; i++) own[$i]; next } \
        ($2 in own) == (FILENAME == "/var/lib/dpkg/status")' /tmp/names /tmp/base /var/lib/dpkg/status >var/lib/dpkg/status

FROM base
ARG VERSION=15
ARG REVISION=unknown
LABEL org.opencontainers.image.title="todo-chatbot-postgres" \
      org.opencontainers.image.description="PostgreSQL 15 from Debian, for one database on a volume" \
      org.opencontainers.image.licenses="PostgreSQL" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=packages /tree /
COPY --chmod=0755 entrypoint.sh /usr/local/bin/entrypoint.sh
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PGDATA=/var/lib/postgresql/data/pgdata
WORKDIR /var/lib/postgresql
USER 10001:10001
RUN ["postgres", "--version"]
EXPOSE 5432
# PostgreSQL's "fast shutdown": clients are disconnected and everything is written. On SIGTERM it would wait for clients.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["pg_isready", "--quiet", "--host=127.0.0.1"]
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
