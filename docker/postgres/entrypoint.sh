#!/bin/sh
# Makes the database at the first start, then becomes the server. Arguments go to the server.
#   POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE  the owner's password; needed at the first start
#   POSTGRES_USER  the owner, postgres by default;  POSTGRES_DB  the database, named like the owner by default
#   PGDATA         the folder of the data: a folder in the volume, not the volume itself
set -eu

# The shell is process 1 and would ignore what it has no trap for.
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "postgres: $1" >&2
    exit 1
}

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
password=${POSTGRES_PASSWORD:-}
if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    [ -z "$password" ] || fail "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set; set one of them"
    password=$(cat "$POSTGRES_PASSWORD_FILE") || fail "POSTGRES_PASSWORD_FILE can't be read; mount the file"
fi
# The server needs none of these, and what it doesn't have it can't show.
unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE
case $user$database$password in
*'
'*) fail "POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD must be one line each" ;;
esac

# Doubles the quotes in $2, which are $1.
quoted() {
    printf '%s' "$1$(printf '%s' "$2" | sed "s/$1/$1$1/g")$1"
}

# Runs one statement, read from stdin, on the data in $1 without a server that others could reach.
single_user() {
    postgres --single -D "$1" -c exit_on_error=on -c jit=off -c log_checkpoints=off "$2" >/dev/null
}

# Everything is made beside its place and moved there when it is whole: what an interrupted start leaves behind is never
# taken for a database.
make_database() {
    making=$PGDATA.making
    rm -rf "$making"
    mkdir -p -m 0700 "$making" || fail "can't write beside $PGDATA; is the volume mounted and open to user $(id -u)"
    # The password goes in by a file that is gone before there is a database to be found.
    (umask 077 && printf '%s\n' "$password" >"$making.password")
    initdb --pgdata="$making" --username="$user" --pwfile="$making.password" --data-checksums --encoding=UTF8 \
        --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    rm -f "$making.password"
    # Only this container reaches the socket; everybody else comes by address and needs the password.
    echo 'host all all all scram-sha-256' >>"$making/pg_hba.conf"
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE %s OWNER %s\n' "$(quoted '"' "$database")" "$(quoted '"' "$user")" |
            single_user "$making" postgres
    fi
    mv -T "$making" "$PGDATA" || fail "can't move the database to $PGDATA; name a folder in the volume, not the volume"
}

# The password that was handed over is the truth, also for a volume from before.
set_password() {
    printf 'ALTER ROLE %s PASSWORD %s\n' "$(quoted '"' "$user")" "$(quoted "'" "$password")" |
        single_user "$PGDATA" postgres
}

version=$(postgres --version | sed 's/.* \([0-9]*\)\..*/\1/')
if [ -e "$PGDATA/PG_VERSION" ]; then
    found=$(cat "$PGDATA/PG_VERSION")
    [ "$found" = "$version" ] || fail "$PGDATA is of PostgreSQL $found, this is $version; dump it there and restore it here"
    # Numbers of processes repeat in containers: the server could take one of this life for its own, left from the last.
    rm -f "$PGDATA/postmaster.pid"
    [ -z "$password" ] || set_password
elif [ -d "$PGDATA" ] && [ -n "$(ls -A "$PGDATA")" ]; then
    fail "$PGDATA holds files but no database; empty it, or name another folder in PGDATA"
else
    [ -n "$password" ] || fail "POSTGRES_PASSWORD is not set; set it, or POSTGRES_PASSWORD_FILE"
    echo "postgres: making the database $database in $PGDATA" >&2
    make_database
fi
unset password

exec postgres -D "$PGDATA" -c listen_addresses='*' -c port=5432 -c unix_socket_directories=/var/run/postgresql \
    -c jit=off -c logging_collector=off "$@"
