"""C code of this plugin, and the compiler that turns it into a library on the machine that runs it."""

from grpokit_hf.native.build import library

__all__ = ["library"]
