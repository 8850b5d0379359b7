#!/bin/sh
# Writes what of nginx's configuration depends on the environment, then becomes the command.
#   HOST, PORT         where to listen, 0.0.0.0 and 80 by default
#   BACKEND_URL        http://HOST[:PORT] to which /api is passed on; else API_BASE_URL, else VITE_API_BASE_URL of the build
set -eu

fail() {
    echo "frontend: $1" >&2
    exit 2
}

host=${HOST:-0.0.0.0}
port=${PORT:-80}
case $port in
*[!0-9]* | '' | ??????*) fail "PORT is not a port; set it to a port, 1 to 65535" ;;
esac
{ [ "$port" -ge 1 ] && [ "$port" -le 65535 ]; } || fail "PORT is out of range; set it to a port, 1 to 65535"
case $host in
'' | *[!0-9A-Fa-f.:]*) fail "HOST is not an IP address; set it to an IP address, 0.0.0.0 for all" ;;
*:*) host="[$host]" ;;
esac

backend=${BACKEND_URL:-${API_BASE_URL:-${VITE_API_BASE_URL:-}}}
backend=${backend%/}
authority=${backend#http://}
name=${authority%:*}
case $backend in
http://*) ;;
*) fail "BACKEND_URL doesn't begin with http://; set it to http://HOST:PORT" ;;
esac
case $authority in
'' | :* | *[!0-9A-Za-z.:_-]*) fail "BACKEND_URL holds more than a host and a port; set it to http://HOST:PORT" ;;
*:*) backend_port=:${authority##*:} ;;
*) backend_port= ;;
esac
case ${backend_port#:} in
*[!0-9]*) fail "BACKEND_URL has a port that is no number; set it to http://HOST:PORT" ;;
esac

# nginx asks the servers of resolv.conf, which it doesn't read itself, and knows no search domains: the first full name
# that is there is taken, and the first that could be there when none is yet.
servers=$(sed -n 's/^nameserver[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/resolv.conf |
    while read -r server; do
        case $server in
        *:*) printf '[%s] ' "${server%\%*}" ;;
        *) printf '%s ' "$server" ;;
        esac
    done)
domains=$(sed -n 's/^search[[:space:]]*//p' /etc/resolv.conf | tail -n 1)
first=
found=
case $name in
*[!0-9.]*)
    for domain in $domains ''; do
        full=$name${domain:+.$domain}
        first=${first:-$full}
        if timeout 2 getent ahosts "$full." >/dev/null 2>&1; then
            found=$full
            break
        fi
    done
    # A name of the hosts file, which only the system's own resolver reads.
    if [ -z "$found" ]; then
        found=$(timeout 2 getent ahosts "$name" 2>/dev/null | sed -n '1s/ .*//p')
        case $found in
        *:*) found="[$found]" ;;
        esac
    fi
    ;;
*) found=$name ;;
esac

{
    echo "listen $host:$port;"
    [ -z "$servers" ] || echo "resolver ${servers% } valid=10s;"
    echo "set \$backend http://${found:-$first}$backend_port;"
} >/tmp/nginx-server.conf

exec "$@"
