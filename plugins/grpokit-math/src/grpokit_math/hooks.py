"""What this plugin registers. It names code and imports none of it."""

from __future__ import annotations

GRPOKIT_HOOK_API = 1
