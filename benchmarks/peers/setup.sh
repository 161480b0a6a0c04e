#!/bin/sh
# Installs the peers into $1 (default: .env beside this file), in the versions that the last tables were measured with.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
env=${1:-$here/.env}
mkdir -p "$env/npm"

command -v nginx >/dev/null || {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends nginx-light
}

[ -x "$env/litellm/bin/litellm" ] || {
    python3 -m venv "$env/litellm"
    "$env/litellm/bin/python" -m pip install -q 'litellm[proxy]==1.106.2'
}

[ -d "$env/npm/node_modules/copilot-api" ] ||
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$env/npm" \
        copilot-api@0.7.0 @oven/bun-linux-x64@1.4.5
