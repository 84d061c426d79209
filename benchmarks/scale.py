"""Measures what docs/scale.md extrapolates: bytes of a row at every stage, and what a listing and a manifest take.

    python benchmarks/scale.py --json [--quick] [--data DIR] [--work DIR]

Rows are those of imagenet-samples-500 (patch8 at 256 pixels, 32 x 32 ids) with names, sizes and hashes, in DIR as
for store.py. The listing is that of a tar of 300,000 invented names (--quick: 30,000), opened in a fresh process;
its memory is what that process grows by.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import ids as id_sets
import numpy as np

import seit
from seit.store import RowTable, TokenDataset, TokenWriter

LISTED = """
import json, os, sys
from pathlib import Path
from seit.images import open_source
from seit.images.saved import save_listing
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
source = open_source(sys.argv[1])
grown = resident() - before
save_listing(source, Path(sys.argv[2]), "benchmark")
print(json.dumps([len(source), grown, os.path.getsize(sys.argv[2])]))
"""


def main() -> None:
    """Prints one JSON document."""
    harness.run(__file__, harness.parser(__doc__, "a shorter listing", pictures=True).parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs every measurement; see the module."""
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        scratch = Path(folder)
        work = options.work or scratch
        photos = id_sets.load(options.data, work, ("photos",))["photos"]
        with harness.one_core():
            rows = row_bytes(scratch, photos)
            return {**rows, **manifest_bytes(scratch), **listing(scratch, 30_000 if options.quick else 300_000)}


def new_writer(out: Path, codes: int, grid: tuple[int, int]) -> TokenWriter:
    """Returns a writer of a token data set of two classes."""
    return TokenWriter(
        out,
        tokenizer={"name": "scale", "identity": "scale"},
        codebook=None,
        vocabulary=codes,
        grid=grid,
        classes=["a", "b"],
        source={"name": "scale"},
        plan="benchmark",
    )


def row_bytes(scratch: Path, photos: id_sets.Ids) -> dict[str, Any]:
    """Returns the bytes of a row while it is staged and when it is committed, and the commit's processor time."""
    writer = new_writer(scratch / "rows", photos.vocabulary, photos.all.shape[1:])
    writer.write(0, "train", photos.all, np.arange(len(photos.all)) % 2, photos.rows)
    staged = sum(file.stat().st_size for file in writer.partial.rglob("part-*") if file.is_file())
    start = time.process_time()
    about = seit.info(writer.commit())
    return {
        "rows": len(photos.all),
        "codec": about["codec"],
        "staged_bytes_per_row": staged / len(photos.all),
        "coded_bytes_per_row": about["bytes_per_image"]["payload_offsets_labels"],
        "side_table_bytes_per_row": about["bytes"]["side_table"] / len(photos.all),
        "commit_cpu_s": time.process_time() - start,
    }


def manifest_bytes(scratch: Path) -> dict[str, Any]:
    """Returns the bytes that one shard more takes in a manifest."""
    sizes = []
    for shards in (10, 110):
        writer = new_writer(scratch / f"shards-{shards}", 16, (2, 2))
        for number in range(shards):  # a shard has rows of one split
            ids = np.arange(16).reshape(4, 2, 2)
            writer.write(number, f"split{number:05d}", ids, np.arange(4) % 2, RowTable.named(list("abcd")))
        path = writer.commit()
        assert len(TokenDataset(path).manifest.shards) == shards
        sizes.append((path / "manifest.json").stat().st_size)
    return {"manifest_bytes_per_shard": (sizes[1] - sizes[0]) / 100}


def listing(scratch: Path, count: int) -> dict[str, Any]:
    """Returns what a listing of `count` names takes on the disk and in memory, bytes a name."""
    path = scratch / "listed.tar"
    with tarfile.open(path, "w") as out:
        for i in range(count):
            member = tarfile.TarInfo(f"train/n{i % 1000:08d}/n{i % 1000:08d}_{i:08d}.JPEG")
            member.size = 1
            out.addfile(member, io.BytesIO(b"\xff"))
    command = [sys.executable, "-c", LISTED, str(path), str(scratch / "listing.arrow")]
    names, grown, saved = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return {"listed_names": names, "listing_memory_bytes": grown / names, "listing_disk_bytes": saved / names}


if __name__ == "__main__":
    main()
