#!/usr/bin/env python3
"""Runs the tests of this folder against the real server: `python3 run.py [--long] [pytest arguments]`.

Tests marked `long` are slow. They run only with `--long`, without the others.

The server is PARLOR_BIN, `../../target/debug/parlor` by default. The virtual environment `.venv` is created here, once for
each version of `requirements.txt`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
REQUIREMENTS = HERE / "requirements.txt"
STAMP = VENV / "installed.txt"


def install():
    wanted = REQUIREMENTS.read_text()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)])
    if made.returncode:
        sys.exit("the venv module of Python is needed (Debian: python3-venv)")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS)]
    if subprocess.run(pip).returncode:
        sys.exit("requirements.txt cannot be installed")
    STAMP.write_text(wanted)


if __name__ == "__main__":
    install()
    arguments = sys.argv[1:]
    is_long = "--long" in arguments
    selection = ["-m", "long" if is_long else "not long"]
    arguments = [argument for argument in arguments if argument != "--long"] or [str(path) for path in sorted(HERE.glob("test_*.py"))]
    pytest = [str(PYTHON), "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--rootdir", str(HERE), "--tb=short", "-q"]
    sys.exit(subprocess.run([*pytest, *selection, *arguments], cwd=HERE).returncode)
