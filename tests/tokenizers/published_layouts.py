"""Keys and shapes of the published tokenizers, from their configurations: what a checkpoint of each holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Shapes = Iterator[tuple[str, tuple[int, ...]]]

LAYOUTS = {
    "vitvq-imagenet-small": (51956771, 26109472, "311b183dc7226eea"),
    "vitvq-imagenet-base": (172237347, 86249760, "346d7d1ba5492313"),
    "vitvq-imagenet-large": (615322915, 26109472, "e27f81d938297826"),
    "taming-imagenet-f16-1024": (72141699, 29626112, "a1929d2a7d6298c6"),
    "taming-imagenet-f16-16384": (76073859, 33558272, "ed4a0faa7bd240c4"),
    "taming-openimages-gumbel-f8-8192": (68995971, 30614016, "6f53f15fba2e8223"),
    "ldm-vq-f4": (55322782, 22361999, "eafd021b5e4336ba"),
    "ldm-vq-f4-noattn": (53219486, 21310351, "28fcaa801de2218d"),
    "ldm-vq-f8": (67717295, 27463320, "ef9aaff6bb472ca2"),
    "ldm-vq-f8-n256": (67652783, 27398808, "07c799b70dfa43d6"),
    "ldm-vq-f16": (69593371, 28286288, "8dbd24be1f013332"),
    "llamagen-vq-8": (70109835, 28692360, "f3543640d37c0c02"),
    "llamagen-vq-16": (71883403, 29431304, "f7d841d3512187f9"),
}
"""Numbers of weights, of those that encoding needs, and `layout_digest` of the original classes' own list."""


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns the keys and shapes of a published size, by a golden file's configuration."""
    made = {"vitvq": _vit, "llamagen": _llamagen}.get(config["family"], _taming)(config)
    return dict(made)


def _with_bias(key: str, *shape: int) -> Shapes:
    yield f"{key}.weight", shape
    yield f"{key}.bias", shape[:1]


def _vit(config: dict[str, Any]) -> Shapes:
    cells, patch = (config["image_size"] // config["patch_size"]) ** 2, config["patch_size"]
    width, codes = config["quantizer"]["embed_dim"], config["quantizer"]["n_embed"]
    encoder, decoder = config["encoder"]["dim"], config["decoder"]["dim"]
    yield "encoder.en_pos_embedding", (1, cells, encoder)
    yield "decoder.de_pos_embedding", (1, cells, decoder)
    yield from _with_bias("encoder.to_patch_embedding.0", encoder, 3, patch, patch)
    yield "decoder.to_pixel.1.weight", (decoder, 3, patch, patch)
    yield "decoder.to_pixel.1.bias", (3,)
    yield from _with_bias("pre_quant", width, encoder)
    yield from _with_bias("post_quant", decoder, width)
    yield "quantizer.embedding.weight", (codes, width)
    for part in ("encoder", "decoder"):
        sizes = config[part]
        dim, inner = sizes["dim"], 64 * sizes["heads"]
        for layer in range(sizes["depth"]):
            at = f"{part}.transformer.layers.{layer}"
            yield from _with_bias(f"{at}.0.norm", dim)
            yield f"{at}.0.fn.to_qkv.weight", (3 * inner, dim)
            yield from _with_bias(f"{at}.0.fn.to_out", dim, inner)
            yield from _with_bias(f"{at}.1.norm", dim)
            yield from _with_bias(f"{at}.1.fn.net.0", sizes["mlp_dim"], dim)
            yield from _with_bias(f"{at}.1.fn.net.2", dim, sizes["mlp_dim"])
        yield from _with_bias(f"{part}.transformer.norm", dim)


def _residual(key: str, before: int, after: int) -> Shapes:
    yield from _with_bias(f"{key}.norm1", before)
    yield from _with_bias(f"{key}.conv1", after, before, 3, 3)
    yield from _with_bias(f"{key}.norm2", after)
    yield from _with_bias(f"{key}.conv2", after, after, 3, 3)
    if before != after:
        yield from _with_bias(f"{key}.nin_shortcut", after, before, 1, 1)


def _attention(key: str, width: int) -> Shapes:
    yield from _with_bias(f"{key}.norm", width)
    for name in ("q", "k", "v", "proj_out"):
        yield from _with_bias(f"{key}.{name}", width, width, 1, 1)


def _ends(codes: int, width: int, latent: int, first: int, last: int, table: str) -> Shapes:
    """Yields the layers outside the blocks of either convolutional layout."""
    yield from _with_bias("encoder.conv_in", first, 3, 3, 3)
    yield from _with_bias("encoder.norm_out", last)
    yield from _with_bias("encoder.conv_out", latent, last, 3, 3)
    yield from _with_bias("decoder.conv_in", last, latent, 3, 3)
    yield from _with_bias("decoder.norm_out", first)
    yield from _with_bias("decoder.conv_out", 3, first, 3, 3)
    yield from _with_bias("quant_conv", width, latent, 1, 1)
    yield from _with_bias("post_quant_conv", latent, width, 1, 1)
    yield f"quantize.{table}.weight", (codes, width)


def _taming(config: dict[str, Any]) -> Shapes:
    inner, width, codes = config["ddconfig"], config["embed_dim"], config["n_embed"]
    widths = [inner["ch"] * factor for factor in inner["ch_mult"]]
    gumbel = config["family"] == "taming-gumbel"
    yield from _ends(codes, width, inner["z_channels"], inner["ch"], widths[-1], "embed" if gumbel else "embedding")
    if gumbel:
        yield from _with_bias("quantize.proj", codes, inner["z_channels"], 1, 1)
    for part in ("encoder", "decoder"):
        for block in ("block_1", "block_2"):
            yield from _residual(f"{part}.mid.{block}", widths[-1], widths[-1])
        if inner.get("attn_type") != "none":
            yield from _attention(f"{part}.mid.attn_1", widths[-1])
    for level, width in enumerate(widths):
        attention = inner["resolution"] >> level in inner["attn_resolutions"]
        below, above = widths[max(level - 1, 0)], widths[min(level + 1, len(widths) - 1)]
        for part, side, before, count in (
            ("encoder", "down", inner["ch"] if level == 0 else below, inner["num_res_blocks"]),
            ("decoder", "up", above, inner["num_res_blocks"] + 1),
        ):
            at = f"{part}.{side}.{level}"
            for block in range(count):
                yield from _residual(f"{at}.block.{block}", width if block else before, width)
                if attention:
                    yield from _attention(f"{at}.attn.{block}", width)
        if level < len(widths) - 1:
            yield from _with_bias(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
        if level:
            yield from _with_bias(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)


def _llamagen(config: dict[str, Any]) -> Shapes:
    width, codes, latent = config["codebook_embed_dim"], config["codebook_size"], config["z_channels"]
    widths = [config["ch"] * factor for factor in config["encoder_ch_mult"]]
    yield from _ends(codes, width, latent, config["ch"], widths[-1], "embedding")
    for part in ("encoder", "decoder"):
        yield from _residual(f"{part}.mid.0", widths[-1], widths[-1])
        yield from _attention(f"{part}.mid.1", widths[-1])
        yield from _residual(f"{part}.mid.2", widths[-1], widths[-1])
        # Blocks are numbered in running order: the decoder begins at the lowest resolution.
        ordered = widths if part == "encoder" else widths[::-1]
        lowest = len(widths) - 1 if part == "encoder" else 0
        before = config["ch"] if part == "encoder" else widths[-1]
        for level, width in enumerate(ordered):
            at = f"{part}.conv_blocks.{level}"
            for block in range(config["num_res_blocks"] + (part == "decoder")):
                yield from _residual(f"{at}.res.{block}", width if block else before, width)
                if level == lowest:
                    yield from _attention(f"{at}.attn.{block}", width)
            if level < len(widths) - 1:
                way = "downsample" if part == "encoder" else "upsample"
                yield from _with_bias(f"{at}.{way}.conv", width, width, 3, 3)
            before = width
