"""Kills `seit tokenize` at random moments; what it ends with must be what an undisturbed run gives, byte for byte.

    python tests/stress/tokenize_kills.py DATA [--kills 20] [--quick]

DATA holds `cifar10/` (scripts/cifar10.py), `tiny-imagenet-50/` and `imagenet-samples-500/` (docs/data.md); those
that are there are joined in one list of paths and tokenized by patch4 at 32 pixels. Both runs are the command
itself, in a process group that SIGKILL ends as a whole, at random moments that reach from its start to its
commit. --quick takes every 50th image of each set, and the embedded sample where none is there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from seit.images import open_source
from seit.store import TokenDataset
from seit.store.verify import verify

SETS = ("cifar10", "tiny-imagenet-50", "imagenet-samples-500")


def main() -> None:
    """Prints one JSON document; exit code 1 if a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("data"), help="the folder of the sets")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="every 50th image")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, help="decode processes, as seit tokenize has it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        sets = write_list(options.data, folder, options.quick)
        command = [sys.executable, "-m", "seit", "tokenize", "images.jsonl", "out.tokens", "--quiet"]
        command += ["--tokenizer", "patch4", "--size", "32", "--device", options.device]
        if options.workers is not None:
            command += ["--workers", str(options.workers)]
        startup, seconds = undisturbed(command, folder)
        wanted = hashes(folder / "out.tokens")
        (folder / "out.tokens").rename(folder / "undisturbed.tokens")
        # Of the few shards of --quick a kill has to let a whole one through.
        work = (1.2 if options.quick else 0.1) * (seconds - startup)
        killed = kill_often(command, folder, startup, work, options.kills, random.Random(options.seed))
        run(command, folder)
        found = hashes(folder / "out.tokens")
        rows = TokenDataset(folder / "out.tokens")
        result = {
            "schema": 1,
            "sets": sets,
            "images": len(rows),
            "undisturbed_s": round(seconds, 1),
            **killed,
            "identical": found == wanted,
            "files": len(wanted),
            "damages": len(verify(folder / "out.tokens")),
            "left_over": sorted(path.name for path in folder.iterdir() if path.name.startswith("out.tokens.")),
            "command": shlex.join(command[1:]),
        }
    print(json.dumps(result))
    if not result["identical"] or result["damages"] or result["left_over"]:
        raise SystemExit(1)


def write_list(data: Path, folder: Path, quick: bool) -> dict[str, int]:
    """Writes images.jsonl of all sets that are there, classes named set/class; returns images of each."""
    there = [name for name in SETS if (data / name).exists()]
    counts = {}
    with open(folder / "images.jsonl", "w") as out:
        for name in there or ["sample"]:
            source = open_source(data / name if there else name)
            chosen = range(0, len(source), 50) if quick else range(len(source))
            counts[name] = len(chosen)
            for number in chosen:
                image = source[number]
                path = (data / name / image.name).absolute() if there else folder / "sample" / image.name
                if not there:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(image.read())
                label = f"{name}/{source.classes[image.label]}" if image.label >= 0 else None
                out.write(json.dumps({"path": str(path), "label": label, "split": image.split}) + "\n")
    return counts


def run(command: list[str], folder: Path) -> None:
    """Runs the command to its end."""
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def undisturbed(command: list[str], folder: Path) -> tuple[float, float]:
    """Runs the command to its end; returns the seconds until it had listed the images, and all seconds."""
    start, listed = time.monotonic(), 0.0
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if not listed and (folder / "out.tokens.partial" / "listing.arrow").exists():
            listed = time.monotonic() - start
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the undisturbed run ends with {process.returncode}")
    return listed, time.monotonic() - start


def kill_often(
    command: list[str], folder: Path, startup: float, work: float, kills: int, rng: random.Random
) -> dict[str, object]:
    """Starts the command until it has been killed alive `kills` times.

    A run goes on from finished shards, so a kill comes after the startup, sometimes before its end, and at most
    a tenth of the work: late enough that the job moves on, soon enough that twenty kills are spread from its
    start to its commit. A run that ends before its kill is removed, and the job begins anew.
    """
    after: list[int] = []
    ended = 0
    while len(after) < kills and ended < kills:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(startup + rng.uniform(-0.2 * startup, work))
            shutil.rmtree(folder / "out.tokens")
            ended += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            committed = (folder / "out.tokens").exists()
            after.append(-1 if committed else len(list(folder.glob("out.tokens.partial/part-*"))))
    return {"kills": len(after), "ended_before_their_kill": ended, "shards_after_each_kill": after}


def hashes(store: Path) -> dict[str, bytes]:
    """Returns every file of a store."""
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


if __name__ == "__main__":
    main()
