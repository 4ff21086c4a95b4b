# Programs that a task calls besides Python: installed when this is root on Debian, else named loudly.
# With CI=true a missing program is an error: nothing may be skipped there.
#
# Installing starts no service and leaves none to be started at boot: the tests run programs of their own.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
POLICY=/usr/sbin/policy-rc.d
CLUSTER=/etc/postgresql-common/createcluster.d/cephstorage-tests.conf

present() {
    case $1 in
    postgres) set -- /usr/lib/postgresql/*/bin/postgres && [ -x "$1" ] ;;
    nginx-cache-purge) [ -e /usr/lib/nginx/modules/ngx_http_cache_purge_module.so ] ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

package() {
    case $1 in
    ip) echo iproute2 ;;
    nginx-cache-purge) echo libnginx-mod-http-cache-purge ;;
    postgres) echo postgresql ;;
    systemd-analyze) echo systemd ;;
    traffic_server) echo trafficserver ;;
    varnishd) echo varnish ;;
    *) echo "$1" ;;
    esac
}

# The units that a program's package starts at boot: tests and measurements start the programs themselves.
units() {
    case $1 in
    nginx | squid) echo "$1" ;;
    traffic_server) echo trafficserver ;;
    varnishd) echo varnish varnishncsa ;;
    esac
}

lacking() {
    for program in "$@"; do
        present "$program" || printf ' %s' "$program"
    done
}

# While packages are installed no init script runs (a policy that is there stays) and PostgreSQL makes no cluster.
keep_quiet() {
    trap 'rm -f ${made_policy:+"$POLICY"} "$CLUSTER"; rmdir "${CLUSTER%/*}" "${CLUSTER%/*/*}" 2>/dev/null || true' EXIT
    trap 'exit 1' HUP INT TERM
    if [ ! -e "$POLICY" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 755 "$POLICY"
    fi
    mkdir -p "${CLUSTER%/*}"
    echo 'create_main_cluster = false' >"$CLUSTER"
}

install() {
    packages=
    for program in "$@"; do
        packages="$packages $(package "$program")"
    done
    echo "Installing:$packages" >&2
    keep_quiet
    apt-get -qq update </dev/null
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages </dev/null >&2 || return 0
    for program in "$@"; do
        for unit in $(units "$program"); do
            ! present systemctl || systemctl disable --quiet "$unit.service" 2>/dev/null || true
        done
    done
}

missing=$(lacking "$@")
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2086 # a list of words
    install $missing
    missing=$(lacking "$@")
    [ -n "$missing" ] || exit 0
fi

echo "*** MISSING:$missing. What needs them fails or is skipped. Install them and run again. On Debian, as root:" >&2
# shellcheck disable=SC2046,SC2086 # lists of words
echo "*** apt-get install --no-install-recommends" $(for program in $missing; do package "$program"; done) >&2
[ "${CI:-}" != true ]
