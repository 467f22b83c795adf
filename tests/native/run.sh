#!/usr/bin/env bash
# Builds the native tests under the address and undefined-behaviour sanitizers (build/native) and runs them once for each
# instruction set that this machine supports, beside them those of the CUDA kernels on the emulator. Needs CMake and a C++
# compiler; arguments go to native_tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mkdir -p build
build=build/native
generator=()
if command -v ninja > /dev/null; then generator=(-G Ninja); fi
# --fresh: an earlier run may have used a build tool that is gone.
cmake --fresh -S . -B "$build" "${generator[@]}" -DCGFAST_NATIVE_TESTS=ON -DCGFAST_SANITIZE=ON -DCGFAST_PYTHON=OFF \
    -DCGFAST_CUDA=OFF > "$build.log" 2>&1 ||
    { cat "$build.log"; exit 1; }
cmake --build "$build" --parallel 2

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_init_order=1
export UBSAN_OPTIONS=print_stacktrace=1
failed=0
# The emulator has one thread: its tests run beside the others.
"$build/native_cuda_tests" "$@" > "$build.cuda.log" 2>&1 &
emulated=$!
for isa in $("$build/native_tests" --list-isas); do
    CGFAST_ISA=$isa "$build/native_tests" "$@" || failed=1
done
wait "$emulated" || failed=1
cat "$build.cuda.log"
exit $failed
