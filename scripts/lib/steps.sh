# Named, timed steps for the scripts. Source it; do not run it.
# shellcheck shell=sh
step_times=$(mktemp)
# What was not checked, a line each; programs that a step runs may append to it.
step_gaps=$(mktemp)
# Where a step may keep output that it looks through; the scripts that source this file read it.
step_log=$(mktemp)
export step_log
step_name=
trap 'step_end $?' EXIT

# step NAME COMMAND...: runs the command under a heading; a failure ends the script.
step() {
    step_name=$1
    shift
    printf '\n== %s\n' "$step_name"
    step_start=$(date +%s)
    "$@"
    step_took=$(($(date +%s) - step_start))
    printf '%3d min %02d s  %s\n' $((step_took / 60)) $((step_took % 60)) "$step_name" >>"$step_times"
    step_name=
}

# not_checked WHAT WHY: tells it where it happens and again in the summary.
not_checked() {
    printf 'NOT CHECKED HERE: %s (%s)\n' "$1" "$2" | tee -a "$step_gaps"
}

step_summary() {
    printf '\n== time per step\n'
    cat "$step_times"
    step_not_checked
}

# Each thing that was not checked, once, however often it was missed.
step_not_checked() {
    sort -u "$step_gaps"
}

step_end() {
    if [ "$1" -ne 0 ] && [ -n "$step_name" ]; then
        {
            printf '\nFAILED in step: %s\n' "$step_name"
            step_not_checked
        } >&2
    fi
    rm -f "$step_times" "$step_gaps" "$step_log"
}
