#!/bin/sh
# Make the environment, or leave it alone when it is up to date.
#
# Usage: tools/environment.sh FOLDER [PYTHON]
#
# FOLDER/.installed holds what the environment was made from. It is written last. FOLDER/.unfinished is
# there while the work goes on: an environment that still has it was interrupted, and is made afresh.
# FOLDER.lock holds the number of the process that is at work: a second one waits for it.
set -eu
cd "$(dirname "$0")/.."

folder=$1
asked=${2:-}
supported=$(sed -n 's/^# Python: //p' requirements.txt)
spoken=$(echo "$supported" | sed 's/ \([^ ]*\)$/ or \1/; s/\([0-9]\) \([0-9]\)/\1, \2/g')
example="make book PYTHON=/path/to/python${supported%% *}"

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Print the version of a Python, such as 3.11, or nothing if it does not run.
version() {
    "$1" -c 'import sys
kind = " (PyPy)" if "PyPy" in sys.version else " (32 bits)" if sys.maxsize < 2**32 else ""
print("%d.%d%s" % (sys.version_info[0], sys.version_info[1], kind))' </dev/null 2>/dev/null || true
}

is_supported() {
    case " $supported " in *" $1 "*) [ -n "$1" ] ;; *) return 1 ;; esac
}

has_venv() {
    "$1" -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1
}

# Set $python to the first Python that will do, or end with one sentence that says why there is none.
find_python() {
    found=
    bare=
    for python in "$@"; do
        v=$(version "$python")
        if is_supported "$v"; then
            has_venv "$python" && return
            bare=${bare:-"$python (Python $v)"}
        elif [ -n "$v" ]; then
            found="${found:+$found, }$python is $v"
        fi
    done
    if [ -n "$bare" ]; then
        fail "$bare cannot make virtual environments because its venv or ensurepip module is missing:" \
            "install them (on Debian and Ubuntu the package is python3-venv)," \
            "or name a Python $spoken that has them, as in \`$example\`."
    fi
    if [ -n "$asked" ] && [ -z "$found" ]; then
        found="$asked does not run"
    fi
    fail "The book needs Python $spoken (${found:-none was found}):" \
        "install one of these, or name it, as in \`$example\`."
}

interpreter() {
    if [ -e "$folder/Scripts/python.exe" ]; then echo "$folder/Scripts/python.exe"; else echo "$folder/bin/python"; fi
}

# What the environment is made from: its place and its Python, then the files that say what to install.
ingredients() {
    echo "$PWD/$folder: Python $1"
    cat requirements.txt pyproject.toml
}

# The scripts in an environment hold its place, so one that was moved or copied is of no use.
was_made_here() {
    [ "$(head -n 1 "$folder/.installed" 2>/dev/null)" = "$(ingredients "$wanted" | head -n 1)" ]
}

is_up_to_date() {
    present=$(version "$(interpreter)")
    [ -n "$asked" ] || wanted=$present
    [ -n "$present" ] && [ "$present" = "$wanted" ] && [ ! -e "$folder/.unfinished" ] &&
        ingredients "$present" | cmp -s - "$folder/.installed"
}

# Take the lock, and give it back however the script ends. One whose process is gone was left by a kill.
take_turns() {
    lock=$folder.lock
    waited=
    until (set -C && echo $$ >"$lock") 2>/dev/null; do
        [ -w . ] || fail "$folder cannot be made because the folder $PWD cannot be written."
        owner=$(cat "$lock" 2>/dev/null) || continue
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -f "$lock"
        elif [ -z "$waited" ]; then
            waited=yes
            echo "Waiting for another make (process $owner) that is making $folder."
        fi
        sleep 1
    done
    trap 'rm -f "$lock"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

if [ -n "$asked" ]; then
    find_python "$asked"
    wanted=$(version "$python")
fi
is_up_to_date && exit 0
take_turns
is_up_to_date && exit 0

# Only an environment that was begun by this script is ever removed.
if [ -e "$folder" ] && [ ! -e "$folder/.installed" ] && [ ! -e "$folder/.unfinished" ]; then
    if ! is_supported "$present" || [ "$present" != "$wanted" ]; then
        [ -n "$asked" ] || wanted=$spoken
        fail "The folder $folder was not made by make and is no environment of Python $wanted:" \
            "move it away, and make will make its own."
    fi
elif [ -e "$folder/.unfinished" ] || ! is_supported "$present" || ! was_made_here; then
    present=
fi

if [ -z "$present" ]; then
    # The words of the list are the names to try.
    # shellcheck disable=SC2086
    [ -n "$asked" ] || find_python $(printf 'python%s ' $supported) python3 python
    # With $folder activated, the Python that was found is the one inside it: take the one that it came from.
    python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')
    echo "Making $folder with Python $(version "$python") ($python). The first time this downloads a lot."
    mkdir -p "$folder"
    : >"$folder/.unfinished"
    find "$folder" -mindepth 1 -maxdepth 1 ! -name .unfinished -exec rm -rf {} +
    "$python" -m venv "$folder"
else
    echo "Bringing $folder up to date."
    if [ -e "$folder/.installed" ]; then mv "$folder/.installed" "$folder/.unfinished"; fi
fi

python=$(interpreter)
"$python" -m pip install --requirement requirements.txt
ingredients "$(version "$python")" >"$folder/.installed"
rm -f "$folder/.unfinished"
