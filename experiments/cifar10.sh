#!/usr/bin/env bash
# CIFAR-10 from ids and from pixels: the table in README.md.
#
#   bash experiments/cifar10.sh IMAGES OUT        IMAGES: what scripts/cifar10.py wrote
#
# One thread a run, so that CPU time is what one core needs. A second call goes on where the first stopped.
set -euo pipefail
images=$1 out=$2
export OMP_NUM_THREADS=1
mkdir -p "$out"
[ -d "$out/tokens" ] || seit tokenize "$images" "$out/tokens" --tokenizer patch4 --size 32
seit info "$out/tokens" --json > "$out/info.json"
for epochs in 12 40; do
  seit train "$out/tokens" --out "$out/ids-$epochs" --set epochs=$epochs &
  seit train "$images" --out "$out/pixels-$epochs" --recipe mini-pixels --set pixel_size=32 --set epochs=$epochs &
  wait
done
seit runs "$out" --json > "$out/runs.json"
python - "$out" <<'P'
import json, sys
from pathlib import Path
out = Path(sys.argv[1])
per_image = json.loads((out / "info.json").read_text())["bytes_per_image"]
runs = {Path(run["run"]).name: run for run in json.loads((out / "runs.json").read_text())["runs"]}
for epochs in (12, 40):
    for kind, size in (("ids", f"{per_image['total']:.1f}"), ("pixels", f"{per_image['source_file']:.0f} (PNG)")):
        run = runs[f"{kind}-{epochs}"]
        print(f"| {kind}, {epochs} epochs | {size} | {run['cpu_seconds'] / 60:.1f} min | {100 * run['top1']:.1f}% |")
P
