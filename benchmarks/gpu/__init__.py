"""The GPU benchmark:   python -m benchmarks.gpu [--dry-run] [--only SECTION ...] [--budget 470]

Builds the checkout with its CUDA kernels for the GPU that is there, runs the tests on it, measures, and writes
`benchmarks/results/<gpu>.json`, in less than 8 minutes from a bare checkout. Needs torch with CUDA, nvcc, CMake, pybind11 and
pytest; torch-geometric, nvalchemi-toolkit-ops and compute-sanitizer are used where they are. Every section runs in a process
of its own with a time limit: what fails is noted in the JSON, the rest goes on. Answers are compared with the CPU's before
anything is timed. `--dry-run` goes the same way on the CPU, with sizes so small that its figures mean nothing.
"""
