# Python environments for the scripts. Source it; do not run it.
# shellcheck shell=sh

# python_environment VENV REQUIREMENTS: makes the environment when it is missing or was left half made,
# installs what is listed, and leaves the interpreter's absolute path in $python. Nothing is deleted.
python_environment() {
    # pip's program comes last: without it the making was interrupted, and is done again over what is there.
    # An interpreter outside an environment would install into the system's packages.
    if [ ! -x "$1/bin/pip" ] ||
        ! "$1/bin/python" -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' >/dev/null 2>&1; then
        python3 -m venv "$1"
    fi
    python=$(cd "$1/bin" && pwd)/python
    "$python" -m pip install --quiet --disable-pip-version-check --requirement "$2"
}
