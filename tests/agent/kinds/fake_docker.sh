#!/bin/sh
# Stands in for docker: `up` copies ps.jsonl of the release it is given to $FAKE/ps, which `ps` prints.
# A release with a file "fails" does not become healthy; one with a file "invalid" is no Compose project.
echo "$*" >>"$FAKE/calls"
if [ "$1" != compose ]; then
    case "$1 $2" in
    "ps --all") cat "$FAKE/listed" 2>/dev/null ;;
    "ps --no-trunc") ;;
    "image inspect") grep -qx "$4" "$FAKE/images" 2>/dev/null || exit 1 ;;
    "volume ls") cat "$FAKE/volumes" 2>/dev/null ;;
    "volume rm") : >"$FAKE/volumes" ;;
    "ps --quiet") cat "$FAKE/restarting" 2>/dev/null ;;
    "inspect --format") cat "$FAKE/made" ;;
    "stop --time") rm "$FAKE/restarting" ;;
    "rm --force" | "rename "*) : >"$FAKE/listed" ;;
    "pull --quiet")
        if [ -e "$FAKE/together" ]; then # this one comes when the others are asked for too
            for _ in $(seq 600); do [ "$(grep -c '^pull' "$FAKE/calls")" -lt 2 ] || break; sleep 0.1; done
            [ "$(grep -c '^pull' "$FAKE/calls")" -ge 2 ] || { echo "alone" >&2; exit 1; }
        fi
        [ -e "$FAKE/registry-down" ] && { echo "no route to registry" >&2; exit 1; }
        echo "$4" >>"$FAKE/images" ;;
    *) exit 9 ;;
    esac
    exit 0
fi
shift
dir=
while [ $# -gt 0 ]; do
    case "$1" in
    --project-name | --file) shift 2 ;;
    --project-directory) dir=$2; shift 2 ;;
    *) break ;;
    esac
done
case "$1" in
config) [ -e "$dir/invalid" ] && { echo "services.web: no such key" >&2; exit 15; }; cat "$dir/compose.yaml" ;;
up) [ ! -e "$FAKE/restarting" ] || { echo "container web is unhealthy" >&2; exit 1; }
    cp "$dir/ps.jsonl" "$FAKE/ps"; [ ! -e "$dir/fails" ] || { echo "container web is unhealthy" >&2; exit 1; } ;;
ps) cat "$FAKE/ps" 2>/dev/null || : ;;
version) ;;
logs) printf '\033[2Kcannot open the door\n' ;;
down) rm -f "$FAKE/ps" ;;
*) exit 9 ;;
esac
