#!/bin/sh
# Writes clients/typescript/src/authapi/v1 from protos/authapi/v1, and src/service_config.ts from
# clients/service_config.json; with --check it proves that both are current.
#
#   clients/typescript/generate.sh [generate|--check]
#
# Runs from anywhere. Needs node and npm; the generator is fetched by npm at the version pinned here, which must be that
# of @bufbuild/protobuf in package.json.
# buf is $BUF, else the repository's .venv/bin/buf, else the one on the PATH, else fetched like the generator.
# Exit status of --check: 0 current, 1 stale, 2 could not tell.
set -eu

PROTOC_GEN_ES=@bufbuild/protoc-gen-es@2.12.1
BUF_PACKAGE=@bufbuild/buf@1.59.0

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
mode=${1:-generate}

fail() {
    echo "clients/typescript/generate.sh: $*" >&2
    exit 2
}

case $mode in generate | --check) ;; *) fail "unknown argument '$mode'; use generate or --check" ;; esac
command -v npm >/dev/null || fail "npm is not on the PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() {
    npm install --prefix "$work" --no-save --no-audit --no-fund --silent "$1" || fail "cannot fetch $1"
}
fetch "$PROTOC_GEN_ES"
buf=${BUF:-}
if [ -z "$buf" ]; then
    if [ -x "$root/.venv/bin/buf" ]; then
        buf=$root/.venv/bin/buf
    elif command -v buf >/dev/null; then
        buf=buf
    else
        fetch "$BUF_PACKAGE"
        buf=$work/node_modules/.bin/buf
    fi
fi

cat >"$work/buf.gen.yaml" <<TEMPLATE
version: v2
plugins:
  - local: $work/node_modules/.bin/protoc-gen-es
    out: $work/out
    opt:
      - target=ts
      - import_extension=js
TEMPLATE
(cd "$root" && "$buf" generate --template "$work/buf.gen.yaml") || fail "the generator failed"
# One import for all of the contract.
for file in "$work"/out/authapi/v1/*_pb.ts; do
    echo "export * from \"./$(basename "$file" .ts).js\";"
done >"$work/out/authapi/v1/index.ts"
# A module, because importing JSON is still experimental in Node 20.
{
    echo "// Written by generate.sh from clients/service_config.json."
    echo
    echo "/** The gRPC service config of every client of the contract: retries for what may be repeated, none for Login. */"
    echo "export const SERVICE_CONFIG = String.raw\`"
    cat "$here/../service_config.json"
    echo "\`;"
} >"$work/service_config.ts"

if [ "$mode" = --check ]; then
    if ! diff -r "$here/src/authapi/v1" "$work/out/authapi/v1" >&2; then
        echo "clients/typescript/generate.sh: src/authapi/v1 is not what protos/ generates; run it and commit" >&2
        exit 1
    fi
    if ! diff "$here/src/service_config.ts" "$work/service_config.ts" >&2; then
        echo "clients/typescript/generate.sh: src/service_config.ts is not the shipped config; run it and commit" >&2
        exit 1
    fi
    echo "clients/typescript/src/authapi/v1 is current"
else
    rm -rf "$here/src/authapi"
    mkdir -p "$here/src/authapi"
    cp -R "$work/out/authapi/v1" "$here/src/authapi/v1"
    cp "$work/service_config.ts" "$here/src/service_config.ts"
fi
