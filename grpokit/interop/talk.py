"""Text and messages of prompts and completions as other trainers have them."""

from __future__ import annotations

from typing import Any

__all__ = ["messages_of", "text_of"]


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or what the assistant says in a list of messages."""
    if isinstance(completion, str):
        return completion
    said = [each for each in completion if each.get("role", "assistant") == "assistant"]
    return "".join(_content(each.get("content")) for each in said)


def messages_of(prompt: Any) -> list[dict[str, Any]]:
    """The messages of a prompt; plain text is what the user says."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": each["role"], "content": _content(each.get("content"))} for each in prompt]


def _content(content: Any) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())
