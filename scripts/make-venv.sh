# Make the virtual environment named by the first argument with $PYTHON, or say what the machine lacks.
# Debian keeps ensurepip in a package of its own: root gets it installed, anybody else is told its name.
set -eu

venv=$1
python=${PYTHON:-python3}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "There is no $python. Install Python 3.11 or newer, or name one: make PYTHON=python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $("$python" -V). CephStorage needs Python 3.11 or newer; name one: make PYTHON=python3.12"

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info.minor)')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $package, which venv needs" >&2
        apt-get -qq update </dev/null
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$package" </dev/null >&2
    else
        fail "$python cannot make virtual environments. On Debian, as root: apt-get install $package"
    fi
fi

echo "Making $venv with $("$python" -V)" >&2
"$python" -m venv --clear "$venv"
