#!/bin/bash
# Inside a virtual machine of the lab: carries out one script that this connection brings, and answers with what it said.
# It listens on the lab's bridge only, which has no route out.
#   in:  LENGTH SECONDS newline, then a script of LENGTH bytes      out: EXIT STDOUT-LENGTH STDERR-LENGTH newline, stdout, stderr
set -u
at=$(mktemp -d /run/lab-shell.XXXXXX)
trap 'rm -rf "$at"' EXIT
read -r -t 10 length seconds || exit 1
head -c "$length" >"$at/script"
timeout -k 2 "$seconds" bash -e "$at/script" </dev/null >"$at/out" 2>"$at/err"
echo "$? $(stat -c %s "$at/out") $(stat -c %s "$at/err")"
cat "$at/out" "$at/err"
