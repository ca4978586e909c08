#!/bin/sh
# Writes clients/go/authapi/v1 from protos/authapi/v1 and copies clients/service_config.json, which go:embed reaches
# only within the module; with --check it proves that both are current.
#
#   clients/go/generate.sh [generate|--check]
#
# Runs from anywhere. Needs go; the plugins are built at the versions pinned here, through the ordinary Go module proxy.
# buf is $BUF, else the repository's .venv/bin/buf, else the one on the PATH, else built like the plugins (a minute).
# Exit status of --check: 0 current, 1 stale, 2 could not tell.
set -eu

# The runtime in go.mod must not be older than protoc-gen-go.
PROTOC_GEN_GO=google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11
PROTOC_GEN_GO_GRPC=google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
BUF_MODULE=github.com/bufbuild/buf/cmd/buf@v1.59.0

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
mode=${1:-generate}

fail() {
    echo "clients/go/generate.sh: $*" >&2
    exit 2
}

case $mode in generate | --check) ;; *) fail "unknown argument '$mode'; use generate or --check" ;; esac
command -v go >/dev/null || fail "go is not on the PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for module in "$PROTOC_GEN_GO" "$PROTOC_GEN_GO_GRPC"; do
    GOBIN=$work go install "$module" || fail "cannot build $module"
done
buf=${BUF:-}
if [ -z "$buf" ]; then
    if [ -x "$root/.venv/bin/buf" ]; then
        buf=$root/.venv/bin/buf
    elif command -v buf >/dev/null; then
        buf=buf
    else
        GOBIN=$work go install "$BUF_MODULE" || fail "cannot build $BUF_MODULE"
        buf=$work/buf
    fi
fi

cat >"$work/buf.gen.yaml" <<TEMPLATE
version: v2
plugins:
  - local: $work/protoc-gen-go
    out: $work/out
    opt: paths=source_relative
  - local: $work/protoc-gen-go-grpc
    out: $work/out
    opt: paths=source_relative
TEMPLATE
(cd "$root" && "$buf" generate --template "$work/buf.gen.yaml") || fail "the generator failed"

if [ "$mode" = --check ]; then
    if ! diff -r "$here/authapi/v1" "$work/out/authapi/v1" >&2; then
        echo "clients/go/generate.sh: clients/go/authapi/v1 is not what protos/ generates; run it and commit" >&2
        exit 1
    fi
    if ! cmp "$here/../service_config.json" "$here/authsvc/service_config.json" >&2; then
        echo "clients/go/generate.sh: clients/go/authsvc/service_config.json is not the shipped one; run it and commit" >&2
        exit 1
    fi
    echo "clients/go/authapi/v1 is current"
else
    rm -rf "$here/authapi/v1"
    mkdir -p "$here/authapi"
    cp -R "$work/out/authapi/v1" "$here/authapi/v1"
    cp "$here/../service_config.json" "$here/authsvc/service_config.json"
fi
