"""Other machines, as well as this one can play them: new processes with other threads and other instructions."""

import os
import subprocess
import sys
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_baseline__, __cpu_features__

NO_EXTRAS = " ".join(name for name, there in __cpu_features__.items() if there and name not in __cpu_baseline__)
"""For ``NPY_DISABLE_CPU_FEATURES``: all instructions that NumPy chooses at run time on this machine."""


def run_python(code: str, *arguments: object, **environment: str) -> str:
    """Run code in a new process, in the folder of the tests, and return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    environment, folder = {**os.environ, **environment}, Path(__file__).parent
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()
