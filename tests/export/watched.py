"""Load folders in this process, of little memory, and tell what became of each: a line of JSON a folder.

python watched.py BYTES FOLDER...  # the first of them a good one

What a folder must not do is seen by Python's audit hooks: write, rename or remove anything, unpickle, start a process,
reach the network, or import what lies in the folder.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from autosubnet import load

HARMFUL = (
    "ctypes.", "os.chmod", "os.exec", "os.fork", "os.link", "os.mkdir", "os.posix_spawn", "os.remove", "os.rename",
    "os.rmdir", "os.symlink", "os.system", "os.truncate", "pickle.find_class", "shutil.", "socket.", "subprocess.",
)  # fmt: skip
_seen: list[str] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(HARMFUL) or (event == "open" and set(str(arguments[1])) & set("wax+")):
        _seen.append(f"{event} {arguments!r:.200}")


def main() -> None:
    room, *folders = sys.argv[1:]
    load(folders[0])  # so that what torch does at its first network is not taken for what a folder does
    sys.addaudithook(watch)
    for folder in folders:
        _seen.clear()
        before = sorted(Path(folder).rglob("*"))
        had = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (had + int(room), -1))
        try:
            load(folder)
            error, message = None, ""
        except BaseException as raised:  # noqa: BLE001  # any other than ours is what this is to find
            error, message = type(raised).__name__, str(raised)
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        same = before == sorted(Path(folder).rglob("*"))
        print(json.dumps({"error": error, "message": message, "seen": _seen, "unchanged": same}), flush=True)


if __name__ == "__main__":
    main()
