# Named, timed steps for the scripts. Source it; do not run it.
# shellcheck shell=sh
step_times=$(mktemp)
# Where a step may keep output that it looks through; the scripts that source this file read it.
step_log=$(mktemp)
export step_log
trap 'rm -f "$step_times" "$step_log"' EXIT

# step NAME COMMAND...: runs the command under a heading; a failure ends the script.
step() {
    step_name=$1
    shift
    printf '\n== %s\n' "$step_name"
    step_start=$(date +%s)
    "$@"
    printf '%5ds  %s\n' "$(($(date +%s) - step_start))" "$step_name" >>"$step_times"
}

step_summary() {
    printf '\n== time per step\n'
    cat "$step_times"
}
