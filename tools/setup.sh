#!/usr/bin/env bash
# Installs this checkout into a virtual environment, made if there is none:   bash tools/setup.sh [EXTRA]
# EXTRA is one of the extras in pyproject.toml; by default `pretrained`, which brings the 2018 weights. The environment is
# .venv, or what CGFAST_VENV names. Needs Python 3.11 or newer with venv, and a C++ compiler; nothing else is assumed.
# The CUDA kernels are built, for the GPU that is there, if there is one and nvcc; CGFAST_CUDA=ON or OFF in the environment
# decides otherwise, CUDAARCHS for which GPUs (docs/cuda.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extra=${1:-pretrained}
venv=${CGFAST_VENV:-.venv}
python=${PYTHON:-python3}

if [ ! -x "$venv/bin/pip" ]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "cgfast needs Python 3.11 or newer, but $python is not: set PYTHON=/path/to/a/newer/python3" >&2
        exit 1
    fi
    "$python" -m venv "$venv"
fi
if ! command -v "${CXX:-c++}" > /dev/null; then
    echo "cgfast needs a C++ compiler, but there is no ${CXX:-c++}: install one (Debian, Ubuntu: apt-get install g++)" >&2
    exit 1
fi

# Without a GPU nobody would wait for kernels: for all architectures they take minutes.
if [ -z "${CGFAST_CUDA:-}" ]; then
    export CGFAST_CUDA=OFF
    if command -v nvcc > /dev/null && nvidia-smi --list-gpus 2> /dev/null | grep -q '^GPU '; then
        export CGFAST_CUDA=AUTO CUDAARCHS=${CUDAARCHS:-native}
    fi
fi

install() {
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints-ci.txt "$@"
}

# torch first: it is by far the largest part.
if ! "$venv/bin/python" -c 'import torch' 2> /dev/null; then
    echo "installing torch into $venv ..."
    install torch
fi
echo "building and installing cgfast[$extra] into $venv ..."
install ".[$extra]"
