"""Measures what one would pick instead of the store: the same ids and labels in other containers.

    python benchmarks/instead.py --json [--quick] [--data DIR] [--work DIR]

A rival is a function that writes rows into a folder, as its own manual suggests, and returns how to open them; it
is skipped where its package is not installed (`pip install -e ".[bench]"`). All read through their Python API, on
one core, ids returned as arrays. --quick: 4,000 rows instead of 100,000, and fewer rounds. DIR as for store.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import ids as id_sets
import made
import numpy as np

from seit.store import TokenDataset

Rows = Callable[[np.ndarray], Any]
Opened = Callable[[], Rows]


def main() -> None:
    """Prints one JSON document."""
    parser = harness.parser(__doc__, "a minute, on fewer rows", pictures=True)
    harness.run(__file__, parser.parse_args(), measure)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Writes every rival's container and ours, and reads them in turns."""
    rows, seconds = (4000, 5) if options.quick else (100_000, 60)
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        scratch = Path(folder)
        photos = id_sets.load(options.data, options.work or scratch, ("photos",))["photos"]
        with harness.one_core():
            ours = made.write_store(scratch / "ours", photos, rows)
            distinct = np.concatenate([photos.fit, photos.held])
            table = compare(*made.resampled(photos, rows), distinct, ours, scratch, seconds)
    return {"rows": rows, "instead": table}


def raw_memmap(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    np.save(folder / "ids.npy", ids)
    np.save(folder / "labels.npy", labels.astype(np.int16))

    def opened() -> Rows:
        plain, classes = np.load(folder / "ids.npy", mmap_mode="r"), np.load(folder / "labels.npy", mmap_mode="r")
        return lambda rows: (plain[rows], classes[rows])

    return opened


def arrow(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    import pyarrow as pa

    width = ids[0].nbytes
    column = pa.Array.from_buffers(pa.binary(width), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])
    batch = pa.record_batch([column, pa.array(labels.astype(np.int16))], names=["ids", "label"])
    with pa.ipc.new_file(str(folder / "ids.arrow"), batch.schema) as out:
        out.write_batch(batch)

    def opened() -> Rows:
        table = pa.ipc.open_file(pa.memory_map(str(folder / "ids.arrow"))).get_batch(0)

        def read(rows: np.ndarray) -> Any:
            taken = table.take(pa.array(rows))
            plain = np.frombuffer(taken.column(0).buffers()[1], ids.dtype, len(rows) * ids[0].size)
            return plain.reshape(len(rows), *ids.shape[1:]), taken.column(1).to_numpy()

        return read

    return opened


def parquet(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    import pyarrow as pa
    import pyarrow.parquet as pq

    width = ids[0].nbytes
    column = pa.Array.from_buffers(pa.binary(width), len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])
    table = pa.table({"ids": column, "label": pa.array(labels.astype(np.int16))})
    pq.write_table(table, folder / "ids.parquet", compression="zstd", row_group_size=1000, use_dictionary=False)

    def opened() -> Rows:
        file = pq.ParquetFile(folder / "ids.parquet", memory_map=True)

        def read(rows: np.ndarray) -> Any:
            groups, places = rows // 1000, rows % 1000
            out = np.empty((len(rows), *ids.shape[1:]), ids.dtype)
            for group in np.unique(groups):
                values = file.read_row_group(int(group), columns=["ids"], use_threads=False).column(0).to_pylist()
                for here in np.flatnonzero(groups == group):
                    out[here] = np.frombuffer(values[places[here]], ids.dtype).reshape(ids.shape[1:])
            return out

        return read

    return opened


def lmdb_zstd(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    import lmdb
    import zstandard

    packer = zstandard.ZstdCompressor(9)
    with lmdb.open(str(folder / "db"), map_size=8 << 30) as base, base.begin(write=True) as txn:
        for i, row in enumerate(ids):
            txn.put(i.to_bytes(4, "big"), int(labels[i]).to_bytes(2, "big") + packer.compress(row.tobytes()))

    def opened() -> Rows:
        txn = lmdb.open(str(folder / "db"), readonly=True, lock=False).begin()
        unpacker = zstandard.ZstdDecompressor()

        def read(rows: np.ndarray) -> Any:
            unpacked = [unpacker.decompress(txn.get(int(i).to_bytes(4, "big"))[2:]) for i in rows]
            return np.frombuffer(b"".join(unpacked), ids.dtype).reshape(len(rows), *ids.shape[1:])

        return read

    return opened


def hf_datasets(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    import datasets

    datasets.disable_progress_bars()
    flat = datasets.Sequence(datasets.Value("uint16"), length=ids[0].size)
    features = datasets.Features({"ids": flat, "label": datasets.Value("int16")})
    rows = {"ids": list(ids.reshape(len(ids), -1)), "label": labels}
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(folder / "hf"))

    def opened() -> Rows:
        data = datasets.load_from_disk(str(folder / "hf")).with_format("numpy")
        return lambda rows: data[rows.tolist()]

    return opened


def lance_fixed(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    import lance
    import pyarrow as pa

    column = pa.FixedSizeListArray.from_arrays(pa.array(ids.reshape(-1)), ids[0].size)
    lance.write_dataset(pa.table({"ids": column, "label": labels.astype(np.int16)}), str(folder / "lance"))

    def opened() -> Rows:
        data = lance.dataset(str(folder / "lance"))

        def read(rows: np.ndarray) -> Any:
            column = data.take(rows.tolist()).column("ids").combine_chunks()
            return column.flatten().to_numpy().reshape(len(rows), *ids.shape[1:])

        return read

    return opened


def webdataset_npy(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    import webdataset

    with webdataset.TarWriter(str(folder / "ids.tar")) as out:
        for i, row in enumerate(ids):
            out.write({"__key__": f"{i:08d}", "npy": row, "cls": int(labels[i])})

    def opened() -> Rows:
        def stream() -> Any:
            while True:
                yield from webdataset.WebDataset(str(folder / "ids.tar"), shardshuffle=False).decode()

        rows_in_order = stream()  # a tar has no random access: it gives the next rows, whichever are asked for
        return lambda rows: np.stack([next(rows_in_order)["npy"] for _ in rows])

    return opened


def litdata_stream(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    from litdata.streaming import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder / "lit"), chunk_bytes="64MB")
    for i, row in enumerate(ids):
        writer[i] = {"ids": row, "label": int(labels[i])}
    writer.done()
    writer.merge()

    def opened() -> Rows:
        def stream() -> Any:
            while True:
                yield from StreamingDataset(str(folder / "lit"), shuffle=True)

        rows_in_order = stream()  # its random access is a hundred rows a second; it is made to be streamed
        return lambda rows: np.stack([next(rows_in_order)["ids"] for _ in rows])

    return opened


def mds_zstd(folder: Path, ids: np.ndarray, labels: np.ndarray) -> Opened:
    from streaming import MDSWriter, StreamingDataset

    columns = {"ids": f"ndarray:uint16:{ids.shape[1]},{ids.shape[2]}", "label": "int16"}
    with MDSWriter(out=str(folder / "mds"), columns=columns, compression="zstd") as out:
        for row, label in zip(ids, labels.astype(np.int16), strict=True):
            out.write({"ids": row, "label": label})

    def opened() -> Rows:
        data = StreamingDataset(local=str(folder / "mds"), batch_size=256, shuffle=False, keep_zip=True)
        return lambda rows: np.stack([data[int(i)]["ids"] for i in rows])

    return opened


RIVALS = {
    "raw memmap": raw_memmap,
    "Arrow, uint16": arrow,
    "Parquet, zstd": parquet,
    "datasets": hf_datasets,
    "Lance": lance_fixed,
    "LMDB, zstd an image": lmdb_zstd,
    "WebDataset, npy, streamed": webdataset_npy,
    "litdata, streamed": litdata_stream,
    "MDS, zstd": mds_zstd,
}
WHY_NOT = {"MDS, zstd": ": mosaicml-streaming 0.13 wants numpy < 2.2 and transformers < 5"}


def size_of(folder: Path) -> int:
    """Bytes that a folder's files take on disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def compare(
    ids: np.ndarray, labels: np.ndarray, distinct: np.ndarray, ours: Path, work: Path, seconds: float
) -> dict[str, Any]:
    """Measures every rival that installs, and ours, on the same rows.

    Args:
        ids, labels: the rows, drawn with replacement: for speed.
        distinct: rows without repeats, by which bytes are measured: packers that see many rows at once would find
            the repeats. (Ours codes each row by itself; its bytes are those of `ours`, everything counted.)
        ours: a store of the rows.
        work: where the others are written.
        seconds: for random batches of 256, and again for shuffled epochs in batches of 1024.

    Returns:
        name -> bytes_per_image, open_s (with the first row), random and epoch as `harness.in_turns`, or why it is
        missing.
    """
    table, reads = {}, {}
    for name, rival in [*RIVALS.items(), ("ours", None)]:
        folder = work / "rivals" / name.replace(" ", "-").replace(",", "")
        try:
            if rival is None:
                opened, size = (lambda: TokenDataset(ours).batch), size_of(ours) / len(ids)
            else:
                for part in ("bytes", "rows"):
                    (folder / part).mkdir(parents=True)
                rival(folder / "bytes", distinct, np.arange(len(distinct)) % 1000)
                opened, size = rival(folder / "rows", ids, labels), size_of(folder / "bytes") / len(distinct)
            table[name] = {"bytes_per_image": size, "open_s": min(_open(opened, len(ids)) for _ in range(3))}
            reads[name] = opened()
        except ImportError as error:
            table[name] = f"not installed ({error.name}){WHY_NOT.get(name, '')}"
        except Exception as error:  # a rival's own fault must not end the run
            table[name] = f"failed ({type(error).__name__}: {str(error)[:100]})"
    rng = np.random.default_rng(0)
    for kind, draw, count in (
        ("random", lambda: rng.integers(0, len(ids), 256), 256),
        ("epoch", lambda: rng.permutation(len(ids))[:1024], 1024),
    ):
        works = {name: (lambda read=read, draw=draw: read(draw()), count) for name, read in reads.items()}
        for name, speeds in harness.in_turns(works, "ours", seconds).items():
            table[name][kind] = speeds
    return table


def _open(opened: Opened, size: int) -> float:
    start = time.perf_counter()
    opened()(np.array([size // 2]))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
