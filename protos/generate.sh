#!/bin/sh
# Writes clients/python/authapi/v1 from protos/authapi/v1, or with --check proves that it is current.
#
#   protos/generate.sh [generate|--check]
#
# Runs from anywhere. Keeps its pinned generator in .venv-gen, made on first use (and again when its lock changes) with
# $GEN_PYTHON, else with the first of python3.11 to python3.13, python3 that works. Exit status of --check: 0 current,
# 1 stale, 2 could not tell.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.venv-gen
lock=$root/requirements-gen.lock
stubs=$root/clients/python
mode=${1:-generate}

fail() {
    echo "protos/generate.sh: $*" >&2
    exit 2
}

# The pinned generator has wheels up to Python 3.13 only; newer ones would have to compile it.
find_python() {
    for candidate in ${GEN_PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python from 3.11 to 3.14 found (set GEN_PYTHON to one)"
}

# The stamp is the one the Makefile's own rule writes.
make_venv() {
    if [ -f "$venv/.done" ] && [ -z "$(find "$lock" -newer "$venv/.done")" ]; then
        return
    fi
    python=$(find_python)
    "$python" -m venv --clear "$venv" || fail "cannot create $venv with $python"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" ||
        fail "cannot install the generator into $venv with $python (Python 3.11 to 3.13 have wheels of it: set GEN_PYTHON)"
    touch "$venv/.done"
}

# $1: a folder that receives authapi/v1/*; it holds no other generated files afterwards.
generate_into() {
    mkdir -p "$1/authapi/v1"
    rm -f "$1"/authapi/v1/*_pb2.py "$1"/authapi/v1/*_pb2.pyi "$1"/authapi/v1/*_pb2_grpc.py "$1"/authapi/v1/*_pb2_grpc.pyi
    (
        cd "$root/protos"
        "$venv/bin/python" -m grpc_tools.protoc --proto_path=. \
            --plugin=protoc-gen-mypy="$venv/bin/protoc-gen-mypy" \
            --python_out="$1" --mypy_out=quiet:"$1" authapi/v1/*.proto
        # Only files with services: the others would give empty modules that still demand grpcio.
        "$venv/bin/python" -m grpc_tools.protoc --proto_path=. \
            --plugin=protoc-gen-mypy_grpc="$venv/bin/protoc-gen-mypy_grpc" \
            --grpc_python_out="$1" --mypy_grpc_out=quiet:"$1" authapi/v1/*_service.proto
    ) || fail "the generator failed"
}

case $mode in
generate)
    make_venv
    generate_into "$stubs"
    ;;
--check)
    make_venv
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    generate_into "$fresh"
    # The files beside the generated ones are written by hand.
    if ! diff -r -x __init__.py -x py.typed -x __pycache__ "$stubs/authapi/v1" "$fresh/authapi/v1" >&2; then
        echo "protos/generate.sh: clients/python/authapi/v1 is not what protos/ generates; run 'make gen' and commit" >&2
        exit 1
    fi
    echo "clients/python/authapi/v1 is current"
    ;;
*)
    fail "unknown argument '$mode'; use generate or --check"
    ;;
esac
