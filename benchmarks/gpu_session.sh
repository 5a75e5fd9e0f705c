#!/usr/bin/env bash
# What only a machine with one large GPU can tell, in at most nine minutes; run from the root of the repository:
#   PYTHON=.venv/bin/python benchmarks/gpu_session.sh results/
# Each part has its own limit, so that one that hangs or fails takes no other with it. A file for each, and a summary.
set -u
out=${1:-benchmarks/results/gpu}
python=${PYTHON:-python3}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 MECHSHIFT_CELLS=none
began=$SECONDS
: >"$out/summary.txt"

say() { echo "$*" | tee -a "$out/summary.txt"; }

part() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 at=$SECONDS
  shift 2
  timeout "$limit" "$@" >"$out/$name.txt" 2>&1
  say "$name: exit $? after $((SECONDS - at)) s"
}

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader | tee "$out/summary.txt"
"$python" - <<'PY' | tee -a "$out/summary.txt"
import nnsight, torch, transformers
print("torch", torch.__version__, "transformers", transformers.__version__, "nnsight", nnsight.__version__)
PY

# Half precision and the 7B shapes first: nothing else can tell them.
for shape in qwen2.5-7b llama2-7b; do
  part "cost-$shape" 110 "$python" benchmarks/attribution_cost.py "$shape" \
    --device cuda --dtype bfloat16 --examples 16 --tokens 32 --repeats 3
done
part number-formats 60 "$python" benchmarks/number_formats.py --device cuda --source bundled:tiny-s0/arm --prompts 100
part tests 120 "$python" -m pytest -q -n 0 -p no:cacheprovider tests/gpu tests/attribution/test_nodes_and_ablations.py
part quickstart 60 "$python" -m mechshift_core.cli.main run specs/quickstart.yaml --out "$out/run"
part gate 20 "$python" -m mechshift_core.cli.main check "$out/run" --baseline specs/baselines/quickstart.json
rm -rf "$out/run/cells" "$out/run/tables" "$out/run/data"
say "all: $((SECONDS - began)) s"
