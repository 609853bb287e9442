"""The process that vLLM lives in: ``python -m grpokit_hf.vllm.host IN OUT RUN`` (two file
descriptors and the run's process id).

One JSON object a line comes in, one goes out; more before it where the run wants to hear of rows that
end before the last. A process of its own keeps vLLM's settings in the environment, its output and its
signals away from the run, can be killed and started again, and is gone when the run is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from grpokit_hf.text.answers import Answers, Endings

__all__ = ["Host", "main"]


class Lines:
    """JSON objects over two file descriptors."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = os.fdopen(sink, "w", encoding="utf-8", closefd=False)
        self.rest = b""

    def get(self, *, wait: bool = True) -> dict[str, Any] | None:
        """The next object; None if none is there yet. Ends the process at the end of the input."""
        while b"\n" not in self.rest:
            if not wait and not select.select([self.source], [], [], 0)[0]:
                return None
            data = os.read(self.source, 1 << 20)
            if not data:
                end()
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def put(self, message: Mapping[str, Any]) -> None:
        self.sink.write(json.dumps(message) + "\n")
        self.sink.flush()


class Host:
    """vLLM and what the run asks of it."""

    def __init__(self, lines: Lines, options: Mapping[str, Any]) -> None:
        from vllm import LLM

        self.lines = lines
        self.llm: Any = LLM(**options)
        self.engine: Any = self.llm.llm_engine
        self.lora: Any = None
        self.count = 0
        self.answers: dict[tuple[str, str], Answers] = {}

    def run(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Does what one message asks; returns the answer."""
        name = message["op"]
        if name == "sample":
            return self.sample(message)
        if name == "score":
            return {"logprobs": self.score(message["ids"])}
        if name == "adapter":
            self.adapter(message)
        elif name == "reload":
            self.llm.collective_rpc("reload_weights", kwargs={"weights_path": message["folder"]})
            self.forget_prefixes()
        elif name == "sleep":
            self.forget_prefixes()
            self.llm.sleep(level=message["level"])
        elif name == "wake":
            self.llm.wake_up()
        else:
            raise ValueError(f"no operation {name!r}")
        return {}

    def forget_prefixes(self) -> None:
        """Keys and values of the old weights would show in no log-prob of a prompt."""
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not empty its prefix cache")

    def adapter(self, message: Mapping[str, Any]) -> None:
        """Takes another adapter; the last one is forgotten, with what was cached under its name."""
        from vllm.lora.request import LoRARequest

        before, self.lora = self.lora, None
        if message["folder"] is not None:
            number = message["version"]
            lora = LoRARequest(f"policy-{number}", number, message["folder"])
            self.engine.add_lora(lora)
            self.lora = lora
        if before is not None and before.lora_int_id != message["version"]:
            self.engine.remove_lora(before.lora_int_id)

    def add(self, ids: Sequence[int], params: Any) -> str:
        self.count += 1
        name = str(self.count)
        self.engine.add_request(
            name, {"prompt_token_ids": list(ids)}, params, lora_request=self.lora
        )
        return name

    def sample(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """All rows together; between two tokens the run may say that it wants to stop.

        Where the run wants to be told, rows go to it when they end, each once: a line
        ``{"id": .., "ended": [[place, row], ..]}`` for those that end at the same token.
        """
        from vllm import SamplingParams

        params = [SamplingParams(**settings, detokenize=False) for settings in message["settings"]]
        prompts = [message["prompts"][owner] for owner in message["owners"]]
        rows = {
            self.add(ids, item): place
            for place, (ids, item) in enumerate(zip(prompts, params, strict=True))
        }
        answer: list[Any] = [None] * len(rows)
        endings = None if message["until"] is None else self.endings(message["until"])
        while self.engine.has_unfinished_requests():
            told = self.lines.get(wait=False)
            if told is not None and told["op"] == "abort":
                self.engine.abort_request(list(rows))
                self.drain()
                return {"aborted": True}
            ended = [
                (rows[output.request_id], row)
                for output in self.engine.step()
                if (row := self.ended(output, rows[output.request_id], endings)) is not None
            ]
            if ended and message["tell"]:
                self.lines.put({"id": message["id"], "ended": ended})
            else:
                for place, row in ended:
                    answer[place] = row
        return {} if message["tell"] else {"rows": answer}

    def endings(self, until: Mapping[str, Any]) -> Endings:
        """What says that a row's answer is complete."""
        from grpokit_hf.text.answers import Answers, Endings
        from grpokit_hf.text.tokenizer import load_backend

        key = (until["folder"], until["word"])
        if key not in self.answers:
            self.answers[key] = Answers(load_backend(Path(until["folder"])), until["word"])
        return Endings(self.answers[key], until["thinking"])

    def ended(self, output: Any, place: int, endings: Endings | None) -> tuple[Any, ...] | None:
        """The row if it is finished, or if its answer is: then its request ends here."""
        from grpokit_hf.vllm.requests import answer_of

        if output.finished:
            return answer_of(output)
        if endings is None or not endings(place, output.outputs[0].token_ids):
            return None
        self.engine.abort_request([output.request_id])
        tokens, logprobs, _ = answer_of(output)
        return tokens, logprobs, "stop"

    def drain(self) -> None:
        while self.engine.has_unfinished_requests():
            self.engine.step()

    def score(self, ids: Sequence[int]) -> list[float]:
        from vllm import SamplingParams

        params = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, ignore_eos=True, detokenize=False
        )
        name = self.add(ids, params)
        found: Any = None
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                if output.request_id == name and output.prompt_logprobs is not None:
                    found = output.prompt_logprobs
        return [float(at[token].logprob) for token, at in zip(ids[1:], found[1:], strict=True)]


def end() -> NoReturn:
    """The run is gone: no clean-up is worth waiting for. Workers of vLLM go along."""
    if os.getpgrp() == os.getpid():  # the engine starts this process as the first of a session
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


def die_with_parent(parent: int) -> None:
    """Ends this process when the run's process is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        end()

    threading.Thread(target=watch, daemon=True).start()


def version() -> str:
    import vllm

    return str(vllm.__version__)


def main(arguments: Sequence[str]) -> None:
    """Opens vLLM as the first line says, then answers one message after another."""
    die_with_parent(int(arguments[2]))  # before torch is imported, which takes a while
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run decides when it is over
    lines = Lines(int(arguments[0]), int(arguments[1]))
    first = lines.get()
    assert first is not None
    try:
        host = Host(lines, first["options"])
    except Exception as error:  # the border of the process: the run tells the user
        lines.put({"error": reason(error)})
        raise
    from vllm.exceptions import VLLMClientError

    lines.put({"version": version()})
    while True:
        message = lines.get()
        assert message is not None
        if message["op"] == "abort":
            continue  # it came too late: the rows were done
        try:
            answer = host.run(message)
        except (ValueError, VLLMClientError) as error:  # what vLLM does not take; it goes on
            answer = {"error": reason(error)}
        except Exception as error:  # the border of the process: vLLM is in no known state any more
            lines.put({"id": message["id"], "fatal": reason(error)})
            raise
        lines.put({"id": message["id"], **answer})


def reason(error: Exception) -> str:
    """The error in one line, with the last cause that says something."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"


if __name__ == "__main__":
    main(sys.argv[1:])
