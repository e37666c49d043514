#!/bin/sh
# As upstream's: n8n, or one of its commands.
if [ -d /opt/custom-certificates ]; then
  export NODE_OPTIONS="--use-openssl-ca $NODE_OPTIONS" SSL_CERT_DIR=/opt/custom-certificates
fi
if [ "$#" -gt 0 ]; then exec n8n "$@"; else exec n8n; fi
