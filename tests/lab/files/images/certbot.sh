#!/bin/sh
# A stand-in for `certbot certonly --webroot`: the name's challenge must be answered on port 80 of the web server beside
# it, under the name; then a certificate is signed, at the paths certbot uses. No authority is asked.
set -eu

name= names= webroot= command= keep=
while [ $# -gt 0 ]; do
  case $1 in
    certonly | renew | certificates | --version) command=$1 ;;
    --cert-name) name=$2; shift ;;
    -d | --domain | --domains) names=${names:+$names,}$2; shift ;;
    -w | --webroot-path) webroot=$2; shift ;;
    --email | --server | -m) shift ;;
    --keep-until-expiring) keep=1 ;;
  esac
  shift
done

[ "$command" != --version ] || { echo "certbot 0 (stand-in)"; exit 0; }
[ "$command" = certonly ] || exit 0
name=${name:-${names%%,*}}
live=/etc/letsencrypt/live/$name
month_s=2592000
[ -z "$keep" ] || ! openssl x509 -checkend $month_s -noout -in "$live/fullchain.pem" >/dev/null 2>&1 || exit 0

challenge=$webroot/.well-known/acme-challenge
mkdir -p "$challenge"
token=$(openssl rand -hex 16)
umask 022
printf '%s' "$token" > "$challenge/$token"
trap 'rm -f "$challenge/$token"' EXIT
for each in $(echo "$names" | tr , ' '); do
  url=http://$each/.well-known/acme-challenge/$token
  answer=$(curl --fail --silent --show-error --max-time 10 --connect-to "::${CERTBOT_WEB_SERVER:-nginx}:80" "$url")
  [ "$answer" = "$token" ] || { echo "certbot stand-in: $url did not answer the challenge" >&2; exit 1; }
done

mkdir -p "$live"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj "/O=lab authority/CN=$name" \
  -addext "subjectAltName=$(echo "$names" | sed 's/[^,]*/DNS:&/g')" -keyout "$live/privkey.pem" -out "$live/fullchain.pem" 2>/dev/null
cp "$live/fullchain.pem" "$live/cert.pem"
cp "$live/fullchain.pem" "$live/chain.pem"
