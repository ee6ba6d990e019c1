"""Whether a test may have a file system of its own."""

from __future__ import annotations

import shutil
import subprocess


def may_mount() -> bool:
    """Whether this process may have a mount of its own."""
    unshare = shutil.which("unshare")
    probe = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return unshare is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
