# Programs (Debian packages of the same name) that a task calls besides Python: installed when this is root
# on Debian, else named loudly. With CI=true a missing program is an error: nothing may be skipped there.
set -eu

missing=
for program in "$@"; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing:$missing" >&2
    apt-get -qq update </dev/null
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing </dev/null >&2
    exit 0
fi

echo "*** MISSING:$missing. What needs them fails or is skipped. Install them and run again. ***" >&2
[ "${CI:-}" != true ]
