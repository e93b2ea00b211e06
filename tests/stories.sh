#!/bin/bash
# Chooses the stories of tests/Lab.Tests that a run tells, and says which it leaves out.
#   tests/stories.sh              one line each, "CLASS SECONDS", the costliest first; what is left out goes to stderr
#   tests/stories.sh --all        every story
#   tests/stories.sh --measured F what stories cost in F (the XML of a run) beside what they say that they cost
# Told are: every story of an area whose files changed in the last day of commits (by the time of the newest, so that a clean checkout
# chooses the same), the heart of each other area, and of the rest as many as fit into STORY_SECONDS, in an order that the commit's hash gives.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export LC_ALL=C
budget=${STORY_SECONDS:-1500}

# CLASS AREA SECONDS HEART
stories() {
  grep -rA3 --include=*.cs -E '^\[Story\("' tests/Lab.Tests | awk '
    match($0, /\[Story\("[a-z0-9]+", [0-9]+/) {
      split(substr($0, RSTART, RLENGTH), part, /"|, /); area = part[2]; seconds = part[4]; heart = /Heart = true/ ? 1 : 0; next }
    match($0, /public sealed (partial )?class [A-Za-z0-9]+/) && area != "" {
      n = split(substr($0, RSTART, RLENGTH), word, " "); file = $0; sub(/\.cs-.*/, ".cs", file); print file, word[n], area, seconds, heart; area = "" }' |
    while read -r file class area seconds heart; do
      echo "$(sed -nE 's/^namespace ([A-Za-z0-9.]+);.*/\1/p' "$file").$class $area $seconds $heart"
    done
}

# Areas whose files changed; every area where there is no history to tell.
changed() {
  local newest since
  newest=$(git log -1 --format=%ct 2>/dev/null) || { echo '*'; return; }
  since=$((newest - 86400))
  # A checkout that is cut off within the day does not know what came before.
  if [ "$(git rev-parse --is-shallow-repository)" = true ] && [ "$(git log --format=%ct | tail -n 1)" -ge "$since" ]; then echo '*'; return; fi
  { git log --since="@$since" --name-only --format= --no-renames; git status --porcelain --untracked-files=all | cut -c 4-; } | sort -u |
    awk 'NR == FNR { if ($1 != "" && $1 !~ /^#/) { area[++n] = $1; prefix[n] = $2 } next }
         { longest = 0
           for (i = 1; i <= n; i++) if (index($0, prefix[i]) == 1 && length(prefix[i]) > longest) longest = length(prefix[i])
           for (i = 1; i <= n; i++) if (longest > 0 && length(prefix[i]) == longest && index($0, prefix[i]) == 1) seen[area[i]] = 1 }
         END { for (a in seen) print a }' tests/areas.txt -
}

case ${1:-} in
  --all) stories | sort -k3,3nr | awk '{ print $1, $3 }'; exit;;
  --measured)
    # Of each class the time of its tests.
    grep -oE '<test [^>]*>' "$2" | sed -nE 's/.* time="([0-9.]+)".* type="([^"]+)".*/\2 \1/p' | awk '{ t[$1] += $2 } END { for (c in t) printf "%s %d\n", c, t[c] + 0.5 }' |
      sort >"${TMPDIR:-/tmp}/measured.$$"
    stories | sort | join -a 1 - "${TMPDIR:-/tmp}/measured.$$" | awk '{ printf "%-70s %-9s says %4d  took %s\n", $1, $2, $3, ($5 == "" ? "-" : $5) }'
    rm -f "${TMPDIR:-/tmp}/measured.$$"; exit;;
  '') ;;
  *) echo "error: $1 is not an option; see the head of tests/stories.sh" >&2; exit 2;;
esac

areas=$(changed | tr '\n' ' ')
commit=$(git rev-parse HEAD 2>/dev/null || echo none)
stories | while read -r class area seconds heart; do
  must=0
  case " $areas " in *' * '* | *" $area "*) must=1;; esac
  [ "$heart" = 0 ] || must=1
  echo "$must $(sha1sum <<<"$commit $class" | cut -c 1-12) $class $area $seconds"
done | sort -k1,1nr -k2,2 | awk -v budget="$budget" -v areas="$areas" '
  $1 == 1 || spent + $5 <= budget { spent += $5; print $3, $5; told++; next }
  { out = out " " $3; left += $5; n++ }
  END {
    printf "stories: %d told, about %d s; changed within a day: %s\n", told, spent, (areas == "" ? "none" : areas) >"/dev/stderr"
    if (n > 0) printf "stories: %d left out, about %d s (./test.sh --all tells them):%s\n", n, left, out >"/dev/stderr"
  }' | sort -k2,2nr
