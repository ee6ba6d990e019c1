"""Builds the native codec where a C compiler is; everything else stands in pyproject.toml.

`optional` lets the installation go on without it, then the pure codec runs. BETS_PURE=1 leaves it out on purpose, which
makes a wheel for every platform.
"""

from __future__ import annotations

import os

from setuptools import Extension, setup

NATIVE = Extension(
    "bets_protocol.generated._native",
    ["src/bets_protocol/generated/_native.c"],
    include_dirs=["src/bets_protocol/compiler/c"],
    depends=["src/bets_protocol/compiler/c/crc32.h", "src/bets_protocol/compiler/c/runtime.h"],
    extra_compile_args=[] if os.name == "nt" else ["-O3", "-fno-strict-aliasing"],
    optional=True,
)

setup(ext_modules=[] if os.environ.get("BETS_PURE", "") not in ("", "0") else [NATIVE])
