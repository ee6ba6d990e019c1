"""What tests of this library, and of programs and plug-ins built on it, share.

Each module stands for itself and is imported by its own name, so that using one does not load what another needs.
"""

from __future__ import annotations
