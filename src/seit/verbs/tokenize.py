"""`seit tokenize`: images -> ids -> token data set."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seit import codecs, tokenizers
from seit.device import resolve
from seit.errors import CodecError, ImageError, SeitError, StoreError, nearest_names
from seit.images import Bad, Facts, Preparation, Quarantine, Views, open_source
from seit.images.account import Account
from seit.images.quarantine import bad_of, check_nothing_vanishes, record, report_path, write_report
from seit.images.saved import load_listing, save_listing
from seit.progress import progress
from seit.store import TokenDataset, TokenWriter, is_finished
from seit.store.describe import describe
from seit.store.staging import discard
from seit.tokenizers.base import Tokenizer
from seit.tokenizing import local
from seit.tokenizing.decoders import Decoders, processes_for
from seit.tokenizing.encoding import Encoder, Kept, settings
from seit.tokenizing.plan import Plan, Shard, Staged
from seit.tokenizing.ranks import Rank, committing, working

_LISTING = "listing.arrow"
ENGINES = ("local", "ray")


def tokenize(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] = "patch8",
    size: int | None = None,
    resize: str | None = None,
    views: str = "plain",
    seed: int = 0,
    codec: str = "auto",
    on_error: str = "fail",
    max_bad: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    classes: str | os.PathLike[str] | None = None,
    allow_private_hosts: bool = False,
    engine: str = "local",
    workers: int | None = None,
    batch: int | None = None,
    precision: str = "float32",
    compiled: bool = False,
    within: str | os.PathLike[str] | None = None,
    within_by: str = "search",
    device: str = "auto",
    dry_run: bool = False,
    command: str = "",
    account: Account | None = None,
) -> dict[str, Any]:
    """Turns images into a token data set; an interrupted call goes on where it stopped.

    Two lines on standard error say what of the source is read and what is left out.

    Args:
        source: a folder, tar, table, list or embedded sample (see `seit.images.open_source`).
        out: the folder to write; it appears when it is whole.
        tokenizer: a bundled name or a file.
        size: side of the square view in pixels, where it shall not be the tokenizer's own.
        resize: "squash" (straight to the square, as SeiT) or "crop" (short side, then the centre); by default as
            the tokenizer says.
        views: what to store of each image, see `seit.images.Views`.
        seed: of random crops.
        codec: "auto", "zero-order", "context" or "learned".
        on_error: "fail" at the first image that cannot be read, "skip" such images, or skip up to a "limit". Those
            that were skipped are named in OUT.quarantine.jsonl.
        max_bad: the limit.
        image_column, label_column, classes, allow_private_hosts: see `seit.images.open_source`.
        engine: "local", or "ray" for the cluster that Ray finds.
        workers: decode processes; 0 decodes in threads. By default one a core, or threads for few images. With Ray:
            encoders; by default one a GPU of the cluster, or one a node.
        batch: images that are encoded at once; by default about a million pixels.
        precision: of the network before the code search, "float32" or "bfloat16".
        compiled: let torch compile the network.
        within: a token data set by the same tokenizer, whose codes these images shall keep to, as a classifier
            that was trained on it must have; None keeps every code that occurs.
        within_by: how, see `seit.tokenizers.kept.within`: "search" (the released code's way) or "nearest".
        device: auto, cpu, cuda or mps.
        dry_run: say what would be read, write nothing and return nothing.
        command: recorded as the command that made it.
        account: is filled in with what was read and what was left out.

    Returns:
        What `seit info` says of it, and `hint` where the images are much smaller than the view. A rank of torchrun
        that is not the last to finish returns its own `rank` and `shards` instead.

    Raises:
        ImageError: no images, one cannot be read, or a class or a split would be lost.
        CodecError: unknown codec.
        TokenizerError: unknown tokenizer, or a size that its patch does not divide.
        StoreError: `out` holds something else, or `within` is of another tokenizer.
        BusyError: another process writes it.
    """
    _check(codec, engine)
    quarantine, rank = Quarantine(on_error, max_bad), Rank.of_environment()
    columns: dict[str, Any] = {
        "image_column": image_column,
        "label_column": label_column,
        "classes": None if classes is None else os.fspath(classes),
    }
    account = Account() if account is None else account
    opened = functools.partial(
        open_source, source, allow_private_hosts=allow_private_hosts, account=account, **columns
    )
    if dry_run:
        opened().account.tell()
        return {}
    kind = resolve(device)
    loaded = _loaded(tokenizer, rank.device(kind), {"size": size, "resize": resize})
    encoder = Encoder(loaded, precision, compiled, _kept(loaded, within, within_by))
    options = {"codec": codec, **settings(encoder)}
    key = _key(source, [columns, allow_private_hosts, views, seed, batch, options])
    images = load_listing(_partial(out) / _LISTING, key, account) or opened()
    images.account.silent = rank.number > 0
    images.account.tell()
    quarantine.foresee(images.account)
    listed = len(images.boxes[0]) if images.boxes else 0
    plan = Plan(images, Preparation(loaded.preprocessing, Views.of(views, seed, listed)), options, batch)
    job = _Job(plan, encoder, quarantine, rank, kind, engine, workers)
    if not is_finished(out, plan.hash):
        ended = _write(job, out, key, columns, codec, command)
        if ended is not None:
            return ended
    hint = _hint(out, plan)
    return describe(out) | ({"hint": hint} if hint else {})


def _check(codec: str, engine: str) -> None:
    """Refuses unknown names before anything is read."""
    if codec not in codecs.NAMES:
        raise CodecError(f"there is no codec {codec!r}", "--codec", nearest_names(codec, codecs.NAMES))
    if engine not in ENGINES:
        raise SeitError(f"there is no engine {engine!r}", "--engine", nearest_names(engine, ENGINES))


@dataclass(frozen=True)
class _Job:
    """A plan and how to run it."""

    plan: Plan
    encoder: Encoder
    quarantine: Quarantine
    rank: Rank
    device: str
    engine: str
    workers: int | None

    def shards(self, waiting: list[Shard], bar: progress) -> Iterator[tuple[Shard, Staged, dict[str, str]]]:
        """Yields each finished shard and the provenance of who encoded it."""

        def seen(found: Sequence[Facts | Bad]) -> None:
            bar.update(len(found))
            self.quarantine.add(bad_of(found))

        if self.engine == "ray":
            from seit.tokenizing import on_ray

            yield from on_ray.run(self.plan, waiting, self.encoder, self.device, self.workers, seen)
            return
        images = sum(len(shard.images) for shard in waiting)
        processes = processes_for(images) if self.workers is None else self.workers
        with Decoders(self.plan.how, self.plan.batch, processes) as decoders:
            for shard, staged in local.run(self.plan, waiting, self.encoder, decoders, seen):
                yield shard, staged, self.encoder.provenance()


def _write(
    job: _Job, out: str | os.PathLike[str], key: str, columns: dict[str, Any], codec: str, command: str
) -> dict[str, Any] | None:
    """Stages what is missing and commits; returns what a rank says that leaves the commit to another, else None."""
    plan, images, tokenizer = job.plan, job.plan.images, job.encoder.tokenizer
    writer = TokenWriter(
        out,
        tokenizer={
            "name": tokenizer.name,
            "identity": tokenizer.identity(),
            "provenance": {},  # known at the commit, from every shard
            "preprocessing": tokenizer.preprocessing,
            **({"within": asdict(job.encoder.kept)} if job.encoder.kept else {}),
        },
        codebook=tokenizer.codebook.float().cpu().numpy(),
        grid=tokenizer.grid(*plan.how.shape[:2]),
        classes=images.classes,
        source={
            "name": images.name,
            "split_rule": images.split_rule,
            "views": plan.how.views.policy,
            "columns": {name: value for name, value in columns.items() if value},
        },
        plan=plan.hash,
        codec=codec,
        command=command,
        views=plan.how.views.count,
    )
    with working(writer.partial, job.rank):
        if not (writer.partial / _LISTING).exists():
            save_listing(images, writer.partial / _LISTING, key)
        mine = [s for s in plan.shards if s.number not in writer.finished and job.rank.takes(s.number)]
        try:
            _stage(job, writer, mine)
        except SeitError:
            if not writer.finished and job.rank.world == 1:  # nothing to go on from
                shutil.rmtree(writer.partial, ignore_errors=True)
            raise
        with committing(writer.partial) as ours:
            if not ours or len(writer.refreshed()) < len(plan.shards):
                return {"rank": job.rank.number, "shards": len(mine)}
            notes = writer.notes()
            _describe_source(writer.header, plan, notes)
            bad = [Bad(*one) for note in notes for one in note["bad"]]
            try:
                check_nothing_vanishes(images, [one.name for one in bad])
            except ImageError:  # once these images are replaced, the same command reads them again
                discard(writer.partial, (number for number, note in enumerate(notes) if note["bad"]))
                (writer.partial / _LISTING).unlink(missing_ok=True)
                raise
            write_report(report_path(writer.out), bad)
            record(bad, images.account, report_path(writer.out))
            writer.header["source"]["quarantined"] = len(bad)
            if bad:
                images.account.silent = False  # the last rank commits
                images.account.tell()
            writer.commit()
    return None


def _stage(job: _Job, writer: TokenWriter, waiting: list[Shard]) -> None:
    """Encodes shards and stages each as it is finished."""
    total = len(job.plan.images)
    done = total - sum(len(shard.images) for shard in waiting)
    job.quarantine.count = sum(len(note["bad"]) for note in writer.notes())
    with progress(total, "tokenize", "images", done) as bar:
        for shard, staged, provenance in job.shards(waiting, bar):
            note = {"bad": [list(one) for one in staged.bad], "provenance": provenance}
            writer.write(shard.number, shard.split, staged.ids, staged.labels, staged.rows, note)


def _describe_source(header: dict[str, Any], plan: Plan, notes: list[dict[str, Any]]) -> None:
    """Fills in what is known at the end: who encoded, and which augmentations are frozen."""
    views = plan.how.views
    if views.policy.startswith("crops"):
        header["source"]["seed"] = views.seed
    header["source"]["frozen"] = views.frozen
    every: dict[str, list[str]] = {}
    for note in notes:
        for name, value in note["provenance"].items():
            if value not in every.setdefault(name, []):
                every[name].append(value)
    # Where shards were encoded by unlike machines, all of them are named.
    found = {name: " | ".join(sorted(values)) for name, values in every.items()}
    header["tokenizer"]["provenance"] = {**found, "batch": str(plan.batch * views.count)}


def _loaded(name: str | os.PathLike[str], device: str, changed: dict[str, Any]) -> Tokenizer:
    """Loads a tokenizer, with what of its preprocessing is to be another."""
    tokenizer = tokenizers.load(name, device)
    new = {key: value for key, value in changed.items() if value is not None}
    tokenizer.preprocessing = {**tokenizer.preprocessing, **new}
    return tokenizer


def _kept(tokenizer: Tokenizer, within: str | os.PathLike[str] | None, way: str) -> Kept | None:
    """Returns the codes of the data set to keep within, if there is one."""
    if within is None:
        return None
    dataset = TokenDataset(within)
    if dataset.tokenizer["identity"] != tokenizer.identity():
        raise StoreError(
            f"was made by {dataset.tokenizer['name']!r} otherwise than these images would be",
            dataset.path,
            "give its tokenizer, size and resize",
        )
    return Kept.of(dataset, way)


def _partial(out: str | os.PathLike[str]) -> Path:
    path = Path(out).absolute()
    return path.with_name(path.name + ".partial")


def _key(source: str | os.PathLike[str], options: list[Any]) -> str:
    """Returns a hash of what was asked for; a listing that was saved under it need not be made again.

    A source that is one file counts with its size and time: an edited list is another source.
    """
    path = Path(source)
    status = path.stat() if path.is_file() else None
    file = [status.st_size, status.st_mtime_ns] if status else []
    asked = [str(path.absolute()) if path.exists() else str(source), file, options]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _hint(out: str | os.PathLike[str], plan: Plan) -> str | None:
    """Returns a line for who enlarges small images a lot: their ids cost more bytes than they need."""
    data = TokenDataset(out)
    if not len(data):
        return None
    rows = data.rows_at(np.unique(np.linspace(0, len(data) - 1, 500).astype(np.int64)))
    side, view = int(np.median(np.minimum(rows.width, rows.height))), min(plan.how.shape[:2])
    if side * 2 >= view:
        return None
    return (
        f"these images measure about {side} pixels and were enlarged to {view}: a finer tokenizer at their own size"
        f" costs fewer bytes, e.g. --tokenizer patch4 --size {max(4, side // 4 * 4)}"
    )


def quarantine_report(out: str | os.PathLike[str]) -> Path:
    """Returns where the report of a data set's skipped images lies."""
    return report_path(out)


def tokenizer_of(dataset: TokenDataset, given: str | os.PathLike[str] | None = None) -> Tokenizer:
    """Returns the tokenizer that made a data set.

    Raises:
        StoreError: the given (or the bundled one of that name) is another.
        TokenizerError: there is none of that name.
    """
    about = dataset.tokenizer
    # A manifest may name anything: only what the user names is fetched.
    found = tokenizers.load(given or about["name"], download=given is not None)
    found.preprocessing = about["preprocessing"]
    if found.identity() != about["identity"]:
        raise StoreError(
            f"was made by another tokenizer than this {found.name!r}",
            dataset.path,
            "give the one that made it with --tokenizer",
        )
    return found
