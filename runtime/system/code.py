"""How a process gets its code: where modules are, and how those of a version come first."""

import importlib.util
import sys
from pathlib import Path, PurePosixPath

STACK_FILE = "stack.toml"  # of a version, in the folder of its code


def import_from(code: Path) -> None:
    """Let this process import an unpacked artifact's modules before any that are installed.

    What it has imported of them already is forgotten: to be called before a function is loaded.
    """
    sys.path.insert(0, str(code))
    # `saga` is a package of several folders, found by many ways: the artifact's comes first.
    package = sys.modules["saga"]
    package.__path__ = [str(code / "saga"), *package.__path__]
    for path in code.rglob("*"):
        module = module_name(PurePosixPath(path.relative_to(code)))
        if (path.is_dir() or path.suffix == ".py") and module != "saga":
            sys.modules.pop(module, None)


def module_name(path: PurePosixPath) -> str:
    """Return the name of the module in a file, which is given from where it is imported."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def module_file(module: str) -> Path | None:
    """Return the file that a module would be imported from, None if there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:
        # A package around it can't be imported: so neither can this.
        return None
    return Path(spec.origin) if spec and spec.origin else None


def package_folder(package: str) -> Path | None:
    """Return the folder that a package would be imported from, None if there is none."""
    try:
        spec = importlib.util.find_spec(package)
    except Exception:
        return None  # a package around it can't be imported
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None
