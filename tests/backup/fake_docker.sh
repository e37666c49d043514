#!/bin/sh
# Stands in for docker: containers are files, what runs in them are programs in $here/inside. Every call is logged.
here=@HERE@
echo "$*" >>"$here/calls"
case "$1 $2" in
"ps --no-trunc") for each in "$here"/running/otobot-acme/*; do [ -e "$each" ] && printf 'id-%s\t%s\n' "${each##*/}" "${each##*/}"; done; exit 0 ;;
"ps --all") case "$*" in *project=otobot-acme*) ls "$here/containers/otobot-acme" 2>/dev/null ;; esac; exit 0 ;;
"volume ls") case "$*" in *project=otobot-acme*) ls "$here/volumes" | grep '^otobot-acme_' ;; esac; exit 0 ;;
"volume inspect")
    [ -d "$here/volumes/$6" ] || { echo "Error: no such volume: $6" >&2; exit 1; }
    echo "$here/volumes/$6"; exit 0 ;;
"volume rm") rm -r "$here/volumes/$4"; exit ;;
"stop --time") shift 3; for id; do rm "$here/running/otobot-acme/${id#id-}" || exit 1; done; exit 0 ;;
"start "*) shift; for id; do touch "$here/running/otobot-acme/${id#id-}"; done; exit 0 ;;
esac
[ "$1" = compose ] || { echo "fake docker: $*" >&2; exit 64; }
shift
project=
while :; do
    case "$1" in
    --project-name) project=$2; shift 2 ;;
    --project-directory | --file) shift 2 ;;
    *) break ;;
    esac
done
case "$1" in
config) cat "$here/config.json" ;;
ps) for each in "$here/containers/$project"/*; do [ -e "$each" ] && printf '{"Service":"%s","State":"running"}\n' "${each##*/}"; done; exit 0 ;;
up) for each in "$here/containers/$project"/*; do mkdir -p "$here/running/$project"; touch "$here/running/$project/${each##*/}"; done ;;
down) rm -rf "$here/containers/$project" "$here/running/$project" ;;
exec)
    service=$3 program=$4
    shift 4
    [ -e "$here/running/$project/$service" ] || { echo "service \"$service\" is not running" >&2; exit 1; }
    exec "$here/inside/$program" "$@" ;;
*) echo "fake docker compose: $*" >&2; exit 64 ;;
esac
