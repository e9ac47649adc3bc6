"""`PYTHON elsewhere.py MODULE ARGUMENTS`: runs a module of edgetran's in a Python that has none.

It is lent the package this file lies in and nothing beside it: the folder around the package
holds libraries that were built for the daemon's own Python.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def lend() -> None:
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [place for place in sys.path if not place or str(Path(place).resolve()) != here]
    spec = importlib.util.spec_from_file_location(
        PACKAGE.name, str(PACKAGE / "__init__.py"), submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE.name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    lend()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
