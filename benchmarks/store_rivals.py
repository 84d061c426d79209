"""What a user would pick instead: the same ids and labels in other containers, as their own manuals suggest.

A rival is a function that writes rows into a folder and returns how to open them; it is skipped where its package
is not installed. All read through their Python API, one core, ids returned as arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rows = Callable[[np.ndarray], Any]
Opened = Callable[[], Rows]


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
            found = [unpacker.decompress(txn.get(int(i).to_bytes(4, "big"))[2:]) for i in rows]
            return np.frombuffer(b"".join(found), ids.dtype).reshape(len(rows), *ids.shape[1:])

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


def measure(opened: Opened, size: int, folder: Path, seconds: float = 1.0) -> dict[str, float]:
    """Times opening, random batches of 256 and a shuffled epoch (batches of 1024) for about `seconds` each.

    Returns:
        bytes_per_image, open_s, random_images_per_s, epoch_images_per_s.
    """
    start = time.perf_counter()
    read = opened()
    read(np.array([size // 2]))
    open_s = time.perf_counter() - start
    rng = np.random.default_rng(0)
    order = rng.permutation(size)
    return {
        "bytes_per_image": sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file()) / size,
        "open_s": open_s,
        "random_images_per_s": _rate(lambda i: read(rng.integers(0, size, 256)), 256, seconds),
        "epoch_images_per_s": _rate(
            lambda i: read(order.take(range(i * 1024, i * 1024 + 1024), mode="wrap")), 1024, seconds
        ),
    }


def _rate(work: Callable[[int], Any], count: int, seconds: float) -> float:
    """Images a second, the best of the calls that fit into the time."""
    best, number, end = float("inf"), 0, time.perf_counter() + seconds
    while number < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        work(number)
        best = min(best, (time.perf_counter() - start) / count)
        number += 1
        if time.perf_counter() > end + 5 * seconds:
            break
    return 1 / best


def compare(ids: np.ndarray, labels: np.ndarray, ours: Opened, ours_folder: Path, work: Path) -> dict[str, Any]:
    """Measures every rival that installs, and ours, on the same rows."""
    table: dict[str, Any] = {}
    for name, rival in RIVALS.items():
        folder = work / name.replace(" ", "-").replace(",", "")
        folder.mkdir()
        try:
            table[name] = measure(rival(folder, ids, labels), len(ids), folder)
        except ImportError as error:
            table[name] = f"not installed ({error.name})"
        except Exception as error:  # a rival's own fault must not end the run
            table[name] = f"failed ({type(error).__name__}: {str(error)[:100]})"
    table["ours"] = measure(ours, len(ids), ours_folder)
    return table
