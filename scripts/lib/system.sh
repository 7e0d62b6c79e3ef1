# Programs from the distribution, for the tests. Source it; do not run it.
# shellcheck shell=sh

# The programs the tests start, each with the package that brings it.
test_programs="mosquitto=mosquitto mosquitto_sub=mosquitto-clients strace=strace faketime=faketime
    mkfs.ext4=e2fsprogs storescu=dcmtk dciodvfy=dicom3tools openssl=openssl"

# have PROGRAM: also where Debian keeps programs that are not for ordinary users.
have() (
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    command -v "$1" >/dev/null
)

# test_packages: installs what is missing of the above, and what makes a Python environment.
test_packages() {
    missing=
    for pair in $test_programs; do
        have "${pair%%=*}" || missing="$missing ${pair#*=}"
    done
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "install these and run again:$missing" >&2
        return 1
    fi
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words on purpose
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing
}
